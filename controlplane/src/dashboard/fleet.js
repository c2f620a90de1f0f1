// The proxies: which are there, how far they are, what they refuse.

import { get, path, words } from "./api.js";
import { brief, h, plural, reconcile, say } from "./dom.js";
import { Poll } from "./poll.js";
import { listening, state } from "./state.js";
import { Table } from "./table.js";

const BUSY_EVERY = 5_000;
const NAMED_MAX = 100;

const TONES = { present: "well", absent: "warn", detached: "bad" };

// What somebody should look at comes first.
function order(one, other) {
  const trouble = ({ state, refused, lag }) =>
    state === "detached" ? 0 : state === "absent" ? 1 : refused.length > 0 ? 2 : lag > 0 ? 3 : 4;
  return trouble(one) - trouble(other) || (one.name < other.name ? -1 : 1);
}

function busy({ upstreams }) {
  return upstreams === null ? null : upstreams.reduce((sum, upstream) => sum + upstream.in_flight, 0);
}

// How much is in flight on the proxies that are looked at: each is asked by itself.
async function ask(table, counts, signal) {
  const names = table.visible().filter((proxy) => proxy.state === "present").map((proxy) => proxy.name);
  for (const name of [...counts.keys()]) if (!names.includes(name)) counts.delete(name);
  for (const name of names) {
    // One may leave at any time.
    const proxy = await get(path("fleet", name), { signal }).catch(() => ({ upstreams: null }));
    if (signal.aborted) return;
    counts.set(name, busy(proxy));
  }
}

export function fleet() {
  const counts = new Map();
  const table = new Table({
    caption: "Proxies",
    empty: "No proxy has joined yet.",
    key: (proxy) => proxy.name,
    filter: (proxy) => `${proxy.name} ${proxy.state} ${proxy.build} ${proxy.control_plane ?? ""}`,
    changed: () => poll.now(),
    columns: [
      { title: "Proxy", node: (latest) => h("a", { href: `#/fleet/${encodeURIComponent(latest().name)}` }, latest().name) },
      { title: "State", text: (proxy) => proxy.state, tone: (proxy) => TONES[proxy.state] },
      { title: "Revision", number: true, text: (proxy) => String(proxy.applied) },
      { title: "Lag", number: true, text: (proxy) => String(proxy.lag), tone: (proxy) => proxy.lag > 0 && "warn" },
      { title: "In flight", number: true, text: (proxy) => String(counts.get(proxy.name) ?? "–") },
      { title: "Draining", number: true, text: (proxy) => String(proxy.draining.length) },
      { title: "Warming", number: true, text: (proxy) => String(proxy.warming.length) },
      {
        title: "Refused",
        number: true,
        text: (proxy) => String(proxy.refused.length),
        tone: (proxy) => proxy.refused.length > 0 && "bad",
      },
      { title: "Lease", text: (proxy) => proxy.lease },
      { title: "Build", text: (proxy) => proxy.build },
    ],
  });
  const show = () => {
    if (state.fleet.loaded) table.show([...state.fleet.items].sort(order), state.fleet.more);
    const doubt = state.doubt();
    if (doubt) table.fail(doubt);
  };
  show();
  const poll = new Poll(BUSY_EVERY, (signal) => ask(table, counts, signal).then(() => table.draw()));
  const stop = listening({ fleet: show, trouble: show, connection: show });
  const element = h("div", {}, h("h1", {}, "Fleet"), h("div", { class: "card" }, table.element));
  return {
    title: "Fleet",
    element,
    stop: () => {
      poll.stop();
      stop();
    },
  };
}

function part(title, entries, words) {
  const left = entries.length - NAMED_MAX;
  return h(
    "section",
    { class: "card" },
    h("h2", {}, title),
    entries.length === 0
      ? h("p", { class: "quiet" }, "None.")
      : h("ul", {}, ...entries.slice(0, NAMED_MAX).map((entry) => h("li", {}, brief(words(entry), 500)))),
    left > 0 && h("p", { class: "quiet" }, `and ${plural(left, "more", "more")}`),
  );
}

export function proxy(name) {
  const trouble = h("p", { class: "bad", role: "alert", hidden: true });
  const facts = h("dl", { class: "card facts" });
  const parts = h("div");
  const upstreams = new Table({
    caption: "Upstreams",
    empty: "No upstreams are known to it.",
    key: (upstream) => upstream.upstream,
    filter: (upstream) => `${upstream.upstream} ${upstream.health}`,
    columns: [
      { title: "Upstream", text: (upstream) => upstream.upstream },
      { title: "Health", text: ({ health }) => health, tone: ({ health }) => (health === "up" ? "well" : "warn") },
      { title: "In flight", number: true, text: (upstream) => String(upstream.in_flight) },
    ],
  });
  const show = (proxy) => {
    trouble.hidden = true;
    const named = [
      ["State", proxy.state],
      ["Revision", `${proxy.applied}, ${proxy.lag} behind the head${proxy.persisted ? ", on its disk" : ""}`],
      ["Control plane", proxy.control_plane ?? "–"],
      ["Lease", proxy.lease],
      ["Build", proxy.build],
    ];
    reconcile(facts, named, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, name), h("dd")), (line, [, value]) =>
      say(line.lastElementChild, value),
    );
    if (proxy.upstreams) upstreams.show(proxy.upstreams, proxy.more > 0);
    else upstreams.fail(new Error("The proxy cannot be asked now."));
    parts.replaceChildren(
      part("Refused", proxy.refused, ({ object, revision, detail }) => `${object} at revision ${revision}: ${detail}`),
      part("Draining", proxy.draining, ({ upstream, in_flight: n }) => `${upstream}: ${n} in flight`),
      part("Warming", proxy.warming, ({ upstream, last }) => `${upstream}: ${last}`),
    );
  };
  const failed = (error) => {
    trouble.hidden = false;
    say(trouble, words(error));
    upstreams.fail(error);
  };
  const poll = new Poll(2_000, async (signal) => show(await get(path("fleet", name), { signal })), failed);
  const element = h(
    "div",
    {},
    h("p", {}, h("a", { href: "#/fleet" }, "Fleet")),
    h("h1", {}, brief(name)),
    trouble,
    facts,
    h("div", { class: "card" }, upstreams.element),
    parts,
  );
  return { title: name, element, stop: () => poll.stop() };
}
