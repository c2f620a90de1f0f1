// What a write answered, in words.

import { Refusal, words } from "./api.js";
import { brief, h, plural } from "./dom.js";

const NAMED_MAX = 20;

function named(title, entries, say) {
  if (!entries?.length) return null;
  const left = entries.length - NAMED_MAX;
  return h(
    "div",
    {},
    h("h3", {}, title),
    h("ul", {}, ...entries.slice(0, NAMED_MAX).map((entry) => h("li", {}, brief(say(entry))))),
    left > 0 && h("p", { class: "quiet" }, `and ${left} more`),
  );
}

// For whom it is waited, or was in vain.
export function laggards({ lagging, draining, warming, refused, detached, more }) {
  return h(
    "div",
    {},
    named("Not there yet", lagging, ({ proxy, applied }) => `${proxy} is at revision ${applied}`),
    named("Draining", draining, ({ proxy, upstream, in_flight: n }) => `${proxy} drains ${upstream}: ${n} in flight`),
    named("Warming", warming, ({ proxy, upstream, last }) => `${proxy} checks ${upstream}: ${last}`),
    named("Refused", refused, ({ proxy, object, detail }) => `${proxy} refuses ${object}: ${detail}`),
    named("Beyond their lease, and not waited for", detached, (proxy) => proxy),
    more > 0 && h("p", { class: "quiet" }, `and ${plural(more, "more entry", "more entries")}`),
  );
}

// How far a write came that was answered 200.
export function reached({ revision, wait, fleet }) {
  const away = fleet.detached.length;
  const proxies = `${fleet.reached} of ${plural(fleet.members, "proxy", "proxies")}`;
  const but = away > 0 ? `; ${plural(away, "proxy is", "proxies are")} beyond the lease, and not waited for` : "";
  return `Revision ${revision}, ${proxies}, after ${wait.took_ms} ms${but}.`;
}

export function success(answer, truth) {
  const { fleet, also_in: elsewhere } = answer;
  return h(
    "div",
    { class: "well" },
    h("p", {}, h("strong", {}, truth), ` ${reached(answer)}`),
    named("Its address still gets traffic as", elsewhere, (key) => key),
    laggards({ detached: fleet.detached }),
  );
}

// Of one that was not. Whether it is committed is a thing of its own.
export function failure(error) {
  const problem = error instanceof Refusal ? error.problem : {};
  const committed =
    problem.committed === true
      ? `It is committed as revision ${problem.revision}, and not yet true everywhere.`
      : problem.committed === "unknown"
        ? "Whether it is committed is not known."
        : "Nothing was changed.";
  const isKnown = error instanceof Refusal;
  return h(
    "div",
    { class: "bad" },
    h("p", {}, h("strong", {}, brief(words(error), 1_000))),
    h("p", {}, isKnown ? committed : "Whether it was committed is not known: the revisions tell."),
    named("What is wrong", problem.errors, ({ field, detail }) => `${field}: ${detail}`),
    problem.fleet && laggards(problem.fleet),
  );
}
