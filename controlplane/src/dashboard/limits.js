// Rate limits, and how much of one somebody has used.

import { get, list, path, words } from "./api.js";
import { field } from "./dialog.js";
import { brief, h } from "./dom.js";
import { Poll } from "./poll.js";
import { stamp } from "./revisions.js";
import { listening } from "./state.js";
import { Table } from "./table.js";

const LIMITS_MAX = 10_000;
const EVERY = 10_000;

// What a limit applies to, without what it leaves open.
function scope(limit) {
  const parts = ["auth_token", "protocol", "method", "path"]
    .filter((name) => limit[name] !== ".*")
    .map((name) => `${name} ${limit[name]}`);
  if (limit.service) parts.unshift(`service ${limit.service}`);
  if (limit.data_size > 0) parts.push(`from ${limit.data_size} bytes`);
  return brief(parts.join(", ") || "everything", 120);
}

function rate({ threshold, period, concurrent }) {
  const text = `${threshold.toLocaleString("en")} in ${period} s`;
  return concurrent ? `${text}, ${concurrent} at a time` : text;
}

export function limits() {
  const table = new Table({
    caption: "Limits",
    empty: "There are no limits.",
    key: (limit) => limit.id,
    filter: (limit) => `${limit.id} ${scope(limit)} ${limit.mode}`,
    columns: [
      { title: "Limit", node: (latest) => h("a", { href: `#/limits/${encodeURIComponent(latest().id)}` }, latest().id) },
      { title: "Applies to", text: scope },
      { title: "Allows", text: rate },
      { title: "Counted by", text: ({ key }) => key },
      { title: "Mode", text: ({ mode }) => mode, tone: ({ mode }) => mode === "observe" && "warn" },
      { title: "Algorithm", text: ({ algorithm }) => algorithm },
    ],
  });
  const load = async () => {
    const { items, more } = await list("/v1/limits", LIMITS_MAX);
    table.show(items, more);
  };
  const poll = new Poll(EVERY, load, (error) => table.fail(error));
  const commit = ({ detail }) => detail.ops.some(({ kind }) => kind === "limit") && poll.now();
  const stop = listening({ commit });
  const element = h("div", {}, h("h1", {}, "Limits"), h("div", { class: "card" }, table.element));
  return {
    title: "Limits",
    element,
    stop: () => {
      poll.stop();
      stop();
    },
  };
}

function span(title, { from, to, admitted, refused, would_refuse: observed }, threshold) {
  const text = `${admitted.toLocaleString("en")} of ${threshold.toLocaleString("en")} admitted`;
  const more = observed !== undefined ? `, ${observed} would have been refused` : refused ? `, ${refused} refused` : "";
  return h(
    "div",
    {},
    h("h3", {}, title),
    h("meter", { min: 0, max: Math.max(threshold, 1), high: threshold * 0.9, value: admitted, "aria-label": text }),
    h("p", {}, text + more, h("span", { class: "quiet" }, ` from ${stamp(from)} to ${stamp(to)}`)),
  );
}

export function limit(id) {
  const facts = h("dl", { class: "card facts" });
  const found = h("div", { role: "status" });
  let threshold = 0;
  let poll = null;
  const failed = (error) => found.replaceChildren(h("p", { class: "bad" }, words(error)));
  get(path("limits", id)).then((limit) => {
    threshold = limit.threshold;
    const named = Object.entries({ "Applies to": scope(limit), Allows: rate(limit), ...limit });
    facts.replaceChildren(
      ...named.map(([name, value]) =>
        h("div", {}, h("dt", {}, name), h("dd", {}, brief(typeof value === "string" ? value : JSON.stringify(value)))),
      ),
    );
  }, failed);
  const look = async (key, signal) => {
    const usage = await get(`${path("limits", id, "usage")}?key=${encodeURIComponent(key)}`, { signal });
    found.replaceChildren(
      span("Now", usage.window, threshold),
      ...(usage.previous ? [span("The window before", usage.previous, threshold)] : []),
    );
  };
  const input = field("Key", "Whose count: an auth_token, a limit_key or a client's address. Empty: who has none.", {
    name: "key",
    type: "text",
  });
  const form = h("form", { class: "row" }, input, h("button", { type: "submit", class: "primary" }, "Look it up"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const key = form.elements.key.value;
    poll?.stop();
    poll = new Poll(2_000, (signal) => look(key, signal), failed);
  });
  const element = h(
    "div",
    {},
    h("p", {}, h("a", { href: "#/limits" }, "Limits")),
    h("h1", {}, brief(id)),
    h("section", { class: "card" }, h("h2", {}, "Usage"), form, found),
    facts,
  );
  return { title: "Limit", element, stop: () => poll?.stop() };
}
