// All services, kept up to date by the revisions that come.

import { isForbidden, list } from "./api.js";
import { brief, h, plural, soon } from "./dom.js";
import { listening, state } from "./state.js";
import { Table } from "./table.js";

const SERVICES_MAX = 20_000;

// One match, in a line.
export function takes({ hosts, path_prefix: prefix, path_regex: regex, methods, headers, recipients }) {
  if (recipients?.length) return `mail to ${recipients.join(", ")}`;
  const where = `${hosts?.length ? hosts.join(", ") : "any host"}${prefix ?? ""}${regex ? ` ~ ${regex}` : ""}`;
  const named = Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}`);
  return `${methods?.length ? `${methods.join(", ")} ` : ""}${where}${named.length ? ` with ${named.join(", ")}` : ""}`;
}

// What requests a service takes, in a line.
export function matches({ match }) {
  if (match.length === 0) return "internal";
  const rest = match.length > 1 ? `; and ${plural(match.length - 1, "more match", "more matches")}` : "";
  return brief(takes(match[0]), 120) + rest;
}

function key({ name }) {
  return name;
}

function byName(one, other) {
  return one.name < other.name ? -1 : 1;
}

// How many registrations of each service are on the move, on all proxies.
function moves(kind) {
  const counts = new Map();
  for (const proxy of state.fleet.items) {
    for (const { upstream } of proxy[kind]) {
      const name = upstream.split("/", 1)[0];
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return counts;
}

export function services() {
  const known = new Map();
  let more = false;
  let counts = { draining: new Map(), warming: new Map() };
  const moving = (title, kind) => ({
    title,
    number: true,
    text: ({ name }) => (state.doubt() ? "–" : String(counts[kind].get(name) ?? 0)),
    tone: ({ name }) => (counts[kind].has(name) ? "warn" : ""),
  });
  const table = new Table({
    caption: "Services",
    empty: "There are no services yet.",
    key,
    filter: (service) => `${service.name} ${matches(service)} ${service.authorizer ?? ""}`,
    columns: [
      { title: "Service", node: (at) => h("a", { href: `#/services/${encodeURIComponent(at().name)}` }, at().name) },
      { title: "Takes", text: matches },
      { title: "Authorizer", text: ({ authorizer }) => authorizer ?? "–" },
      moving("Draining", "draining"),
      moving("Warming", "warming"),
    ],
  });
  const show = soon(() => table.show([...known.values()].sort(byName), more));
  const fleet = () => {
    counts = { draining: moves("draining"), warming: moves("warming") };
    table.draw();
  };
  const load = async () => {
    try {
      const found = await list("/v1/services", SERVICES_MAX);
      known.clear();
      for (const { name, match, authorizer } of found.items) known.set(name, { name, match, authorizer });
      ({ more } = found);
      show();
    } catch (error) {
      if (isForbidden(error)) known.clear();
      table.fail(error);
    }
  };
  const commit = ({ detail }) => {
    const own = detail.ops.filter((op) => op.kind === "service");
    for (const { verb, key: name, body } of own) {
      if (verb === "delete") known.delete(name);
      else if (known.size < SERVICES_MAX || known.has(name))
        known.set(name, { name, match: body.match, authorizer: body.authorizer });
    }
    if (own.length > 0) show();
  };
  fleet();
  load();
  const stop = listening({ fleet, trouble: fleet, connection: fleet, commit, anew: load });
  const element = h("div", {}, h("h1", {}, "Services"), h("div", { class: "card" }, table.element));
  return { title: "Services", element, stop };
}
