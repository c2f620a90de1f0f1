// The state of the fleet on one page: what is wrong first, then what moves, then what was changed.

import { words } from "./api.js";
import { h, plural, reconcile, say } from "./dom.js";
import { Plot } from "./plot.js";
import { noRevisions, summary, stamp } from "./revisions.js";
import { listening, state } from "./state.js";

const LATEST = 8;

function tile(title) {
  const figure = h("output", { class: "figure" }, "–");
  const detail = h("span", { class: "quiet" });
  return { figure, detail, element: h("div", { class: "card tile" }, h("h2", {}, title), figure, detail) };
}

function count(items, name) {
  return items.filter((proxy) => proxy.state === name).length;
}

function sum(items, kind) {
  return items.reduce((sum, proxy) => sum + proxy[kind].length, 0);
}

// What somebody should look at.
function worries({ items }) {
  const found = [];
  const say = (many, text) => many > 0 && found.push(text);
  const proxies = (many) => plural(many, "proxy is", "proxies are");
  const refusing = items.filter((proxy) => proxy.refused.length > 0).length;
  const lagging = items.filter((proxy) => proxy.state === "present" && proxy.lag > 0).length;
  const detached = count(items, "detached");
  const absent = count(items, "absent");
  say(detached, `${proxies(detached)} beyond the lease, and may serve an older configuration.`);
  say(absent, `${proxies(absent)} not connected, within the lease.`);
  say(refusing, `${plural(refusing, "proxy refuses", "proxies refuse")} a part of the configuration.`);
  say(lagging, `${proxies(lagging)} behind the head.`);
  return found;
}

export function overview() {
  const tiles = { proxies: tile("Proxies"), head: tile("Revision"), draining: tile("Draining"), warming: tile("Warming") };
  const news = h("ul", { class: "worries", "aria-label": "What to look at" });
  const plots = [
    new Plot("Requests", "a second", [
      { name: "requests", label: "all" },
      { name: "errors", label: "errors" },
    ]),
    new Plot("Changes", "a second", [{ name: "writes" }]),
    new Plot("Lag of the last proxy", "revisions", [{ name: "lag" }]),
    new Plot("Draining registrations", "of all proxies", [{ name: "draining" }]),
  ];
  const none = h("p", { class: "quiet" });
  const uncounted = h("p", { class: "quiet", hidden: true }, "This control plane does not tell how many requests there are.");
  const told = (lines, tone) => reconcile(news, lines, (line) => line, (line) => h("li", { class: tone }, line));
  const latest = h("ol", { class: "latest" });
  const unknown = (doubt) => {
    for (const { figure, detail } of Object.values(tiles)) {
      say(figure, "–");
      say(detail, doubt ? "not known now" : "");
    }
    told(doubt ? [`How the fleet stands is not known now: ${words(doubt)}`] : [], "bad");
  };
  const fleet = () => {
    uncounted.hidden = state.traffic.supported !== false;
    plots[0].element.hidden = state.traffic.supported !== true;
    for (const plot of plots) plot.show(state.samples);
    const { items, more, head, epoch, loaded } = state.fleet;
    const doubt = state.doubt();
    if (doubt || !loaded) return unknown(doubt);
    say(tiles.proxies.figure, `${count(items, "present")} of ${items.length}${more ? "+" : ""}`);
    say(tiles.proxies.detail, "are connected");
    say(tiles.head.figure, head.toLocaleString("en"));
    say(tiles.head.detail, `of store ${epoch.slice(0, 8)}`);
    for (const kind of ["draining", "warming"]) {
      const many = sum(items, kind);
      say(tiles[kind].figure, String(many));
      say(tiles[kind].detail, many === 0 ? "nothing waits" : "registrations on all proxies");
    }
    const found = worries(state.fleet);
    const lines = found.length > 0 ? found : [items.length > 0 ? "All proxies serve the head." : "No proxy has joined yet."];
    told(lines, found.length > 0 ? "bad" : "well");
  };
  const revisions = () => {
    say(none, noRevisions());
    const newest = state.revisions.slice(-LATEST).reverse();
    reconcile(latest, newest, (commit) => commit.revision, (commit) =>
      h(
        "li",
        {},
        h("a", { href: `#/revisions/${commit.revision}` }, `Revision ${commit.revision}`),
        h("span", {}, summary(commit)),
        h("span", { class: "quiet" }, `by ${commit.actor}, ${stamp(commit.at)}`),
      ),
    );
  };
  fleet();
  revisions();
  const element = h(
    "div",
    {},
    h("h1", {}, "Overview"),
    news,
    h("div", { class: "tiles" }, ...Object.values(tiles).map(({ element }) => element)),
    h("div", { class: "plots" }, ...plots.map((plot) => plot.element)),
    uncounted,
    h("section", { class: "card" }, h("h2", {}, "Latest changes"), none, latest),
  );
  return { title: "Overview", element, stop: listening({ fleet, trouble: fleet, connection: fleet, revisions }) };
}
