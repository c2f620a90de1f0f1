// One service: its upstreams as each proxy sees them, and what can be done about them.

import { get, path, words } from "./api.js";
import { act } from "./act.js";
import { field } from "./dialog.js";
import { flatten } from "./diff.js";
import { brief, h, plural, say, soon } from "./dom.js";
import { Poll } from "./poll.js";
import { takes } from "./services.js";
import { isHeld, listening, moving, state } from "./state.js";
import { Table } from "./table.js";

// With many proxies each upstream has as many entries, and every one of them is asked.
const [FEW_PROXIES, FEW_EVERY, MANY_EVERY] = [50, 2_000, 15_000];
const [FEW_UPSTREAMS_PAGE, MANY_UPSTREAMS_PAGE] = [200, 20];
const NAMED_MAX = 50;

// {up: 3, down: 1}; what cannot be asked is unknown.
function tally(status) {
  const counts = new Map();
  for (const { health } of status) counts.set(health ?? "unknown", (counts.get(health ?? "unknown") ?? 0) + 1);
  return counts;
}

function health({ status }) {
  const parts = [...tally(status)].map(([name, count]) => `${name} on ${count}`);
  return parts.join(", ") || "no proxy";
}

function tone({ status }) {
  const counts = tally(status);
  if (status.length === 0) return "";
  if (counts.get("up") === status.length) return "well";
  return counts.has("up") ? "warn" : "bad";
}

function inFlight({ status }) {
  return status.reduce((sum, { in_flight: n }) => sum + (n ?? 0), 0);
}

// Those that are not up first.
function proxies({ status }) {
  const sorted = [...status].sort((one, other) => (one.health === "up") - (other.health === "up"));
  const left = sorted.length - NAMED_MAX;
  const line = ({ proxy, health, in_flight: n }) =>
    h("li", {}, `${proxy}: ${health ?? "unknown"}${n === undefined ? "" : `, ${n} in flight`}`);
  return [...sorted.slice(0, NAMED_MAX).map(line), left > 0 && h("li", {}, `and ${left} more`)].filter(Boolean);
}

class Actions {
  constructor(name, done) {
    this.name = name;
    this.done = done;
  }

  at(id) {
    return path("services", this.name, "upstreams", id);
  }

  register() {
    const number = { name: "weight", type: "number", min: 0, max: 1000, step: 1, value: 1 };
    act({
      title: "Register an upstream",
      explain: "It gets requests once every proxy knows it and, if the service has a health check, has found it well.",
      fields: [
        field("Address", "host:port", { name: "address", required: true, placeholder: "10.0.0.25:3000" }),
        field("Id", "Empty: the address is its id.", { name: "id" }),
        field("Weight", "Of 0 to 1000; 0 takes no new requests.", number),
      ],
      label: "Register",
      truth: "It is registered.",
      request: ({ address, id, weight }) => ({
        method: "PUT",
        path: this.at(id || address),
        body: { ...(id && id !== address && { address }), ...(weight && { weight: Number(weight) }) },
      }),
      done: this.done,
    });
  }

  drain({ id }) {
    act({
      title: `Drain ${id}`,
      explain: "It gets no new requests, and stays registered. This waits until nothing is in flight to it on any proxy.",
      label: "Drain",
      truth: "Nothing is in flight to it.",
      request: () => ({ method: "PATCH", path: this.at(id), body: { state: "draining" } }),
      drains: (key) => key === `${this.name}/${id}`,
      done: this.done,
    });
  }

  activate({ id }) {
    act({
      title: `Let ${id} serve again`,
      explain: "It gets requests again, as a new registration.",
      label: "Let it serve",
      truth: "It serves.",
      request: () => ({ method: "PATCH", path: this.at(id), body: { state: "active" } }),
      done: this.done,
    });
  }

  unregister({ id }) {
    act({
      title: `Unregister ${id}`,
      explain: "This waits until no proxy sends it another request and none is in flight. Then it is safe to stop the server.",
      label: "Unregister",
      truth: "It gets no more traffic from this service: what listens there may be stopped, unless it is named below.",
      request: () => ({ method: "DELETE", path: this.at(id) }),
      drains: (key) => key === `${this.name}/${id}`,
      done: this.done,
    });
  }

  hold() {
    act({
      title: `Hold ${this.name}`,
      explain: "New requests of the service wait on every proxy, and those under way finish. The hold ends by itself.",
      fields: [field("For at most", "From 1s to 10m.", { name: "max", value: "30s", required: true })],
      label: "Hold",
      truth: "It is held, and nothing is in flight.",
      request: ({ max }) => ({ method: "POST", path: path("services", this.name, "hold"), body: { max } }),
      drains: (key) => key.startsWith(`${this.name}/`),
      done: this.done,
    });
  }

  resume() {
    act({
      title: `Resume ${this.name}`,
      explain: "Requests that wait go on.",
      label: "Resume",
      truth: "It is resumed.",
      request: () => ({ method: "POST", path: path("services", this.name, "resume") }),
      done: this.done,
    });
  }
}

function upstreamTable(actions) {
  const buttons = (latest) => [
    h("button", { type: "button", class: "drain", onclick: () => toggle(latest()) }),
    h("button", { type: "button", class: "danger", onclick: () => actions.unregister(latest()) }, "Unregister"),
  ];
  const toggle = (upstream) => (upstream.state === "active" ? actions.drain(upstream) : actions.activate(upstream));
  return new Table({
    caption: "Upstreams",
    empty: "No upstream is registered: requests are answered 503.",
    key: ({ id }) => id,
    filter: (upstream) => `${upstream.id} ${upstream.address} ${upstream.state} ${health(upstream)}`,
    columns: [
      { title: "Upstream", text: ({ id }) => id },
      { title: "Address", text: ({ address }) => address },
      { title: "Weight", number: true, text: ({ weight }) => String(weight) },
      { title: "State", text: ({ state }) => state, tone: ({ state }) => state !== "active" && "warn" },
      {
        title: "Health",
        node: () => h("details", {}, h("summary"), h("ul")),
        refresh: (cell, upstream) => {
          const [title, named] = cell.firstElementChild.children;
          say(title, health(upstream));
          title.className = tone(upstream);
          named.replaceChildren(...proxies(upstream));
        },
      },
      { title: "In flight", number: true, text: (upstream) => String(inFlight(upstream)) },
      {
        title: "Actions",
        node: (latest) => h("div", { class: "buttons" }, ...buttons(latest)),
        refresh: (cell, { id, state }) => {
          const [drain, unregister] = cell.querySelectorAll("button");
          say(drain, state === "active" ? "Drain" : "Let it serve");
          drain.setAttribute("aria-label", `${drain.textContent}: ${id}`);
          unregister.setAttribute("aria-label", `Unregister ${id}`);
        },
      },
    ],
  });
}

function settings({ match, name, ...others }) {
  const left = match.length - NAMED_MAX;
  const line = ([member, value]) => h("div", {}, h("dt", {}, member), h("dd", {}, brief(value, 500)));
  return [
    match.length === 0 && h("p", {}, "No requests are routed here: it is internal."),
    h("ul", { "aria-label": "Takes" }, ...match.slice(0, NAMED_MAX).map((one) => h("li", {}, brief(takes(one), 500)))),
    left > 0 && h("p", { class: "quiet" }, `and ${plural(left, "more match", "more matches")}`),
    h("dl", { class: "facts settings" }, ...[...flatten(others)].map(line)),
  ].filter(Boolean);
}

// What is on the move in this service, proxy by proxy.
function transitions(name) {
  const isMeant = (key) => key.startsWith(`${name}/`);
  const { items } = state.fleet;
  const lines = [
    ...moving(items, "draining", isMeant).map((at) => `${at.proxy} drains ${at.upstream}: ${at.in_flight} in flight`),
    ...moving(items, "warming", isMeant).map((at) => `${at.proxy} checks ${at.upstream}: ${at.last}`),
  ];
  const left = lines.length - NAMED_MAX;
  const doubt = state.doubt();
  if (doubt) return [h("p", { class: "quiet" }, `That is not known now: ${words(doubt)}`)];
  if (lines.length === 0) return [h("p", { class: "quiet" }, "Nothing drains, and nothing warms up.")];
  return [
    h("ul", {}, ...lines.slice(0, NAMED_MAX).map((line) => h("li", {}, brief(line)))),
    ...(left > 0 ? [h("p", { class: "quiet" }, `and ${plural(left, "more", "more")}`)] : []),
  ];
}

export function service(name) {
  const trouble = h("p", { class: "bad", role: "alert", hidden: true });
  const held = h("p", { class: "warn", role: "status", hidden: true });
  const about = h("div");
  const moved = h("div");
  const failed = (error) => {
    trouble.hidden = false;
    say(trouble, words(error));
  };
  const look = async (signal) => {
    const isMany = state.fleet.items.length > FEW_PROXIES;
    const size = isMany ? MANY_UPSTREAMS_PAGE : FEW_UPSTREAMS_PAGE;
    const page = await get(`${path("services", name, "upstreams")}?status=true&limit=${size}`, { signal, within: 60_000 });
    trouble.hidden = true;
    table.show(page.items, Boolean(page.next));
    return isMany ? MANY_EVERY : FEW_EVERY;
  };
  const read = () => get(path("services", name)).then((service) => about.replaceChildren(...settings(service)), failed);
  const hold = () =>
    isHeld(name).then((hold) => {
      held.hidden = hold === null;
      resume.hidden = hold === null;
      if (hold) say(held, `The service is held, for ${hold.max}${hold.ends_at ? `: until ${hold.ends_at}` : ""}.`);
    }, failed);
  const actions = new Actions(name, () => poll.now());
  const table = upstreamTable(actions);
  const button = (label, then, kind) => h("button", { type: "button", class: kind, onclick: then }, label);
  const resume = button("Resume", () => actions.resume());
  resume.hidden = true;
  const fleet = () => moved.replaceChildren(...transitions(name));
  const anew = soon(() => read().then(hold));
  const commit = ({ detail: { ops } }) => {
    if (ops.some(({ kind, key }) => kind === "upstream" && key.startsWith(`${name}/`))) poll.now();
    if (ops.some(({ kind, key }) => (kind === "service" || kind === "hold") && key === name)) anew();
  };
  fleet();
  anew();
  const poll = new Poll(FEW_EVERY, look, (error) => {
    failed(error);
    table.fail(error);
  });
  const stop = listening({ fleet, trouble: fleet, connection: fleet, commit, anew });
  const element = h(
    "div",
    {},
    h("p", {}, h("a", { href: "#/services" }, "Services")),
    h("h1", {}, brief(name)),
    trouble,
    held,
    h(
      "p",
      { class: "buttons" },
      button("Register an upstream", () => actions.register(), "primary"),
      button("Hold", () => actions.hold()),
      resume,
    ),
    h("div", { class: "card" }, table.element),
    h("section", { class: "card" }, h("h2", {}, "On the move"), moved),
    h("section", { class: "card" }, h("h2", {}, "Settings"), about),
  );
  return {
    title: name,
    element,
    stop: () => {
      poll.stop();
      stop();
    },
  };
}
