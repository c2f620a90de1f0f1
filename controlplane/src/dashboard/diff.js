// What a change did to an object, member by member.

import { brief, h, plural } from "./dom.js";

const LINES_MAX = 100;
const OPS_MAX = 50;

// `{"a": {"b": 1}}` as a map of `a.b` to the text `1`; lists count as one value.
export function flatten(value, at = "", into = new Map()) {
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  if (isObject && (at === "" || Object.keys(value).length > 0)) {
    for (const [name, member] of Object.entries(value)) flatten(member, at ? `${at}.${name}` : name, into);
  } else if (value !== undefined) {
    into.set(at, JSON.stringify(value));
  }
  return into;
}

// [{member, before, after}]; null is absent.
export function differences(before, after) {
  const [old, now] = [before, after].map((value) => flatten(value ?? {}));
  const members = [...new Set([...old.keys(), ...now.keys()])];
  return members
    .map((member) => ({ member, before: old.get(member) ?? null, after: now.get(member) ?? null }))
    .filter((line) => line.before !== line.after);
}

const KINDS = { member: "proxy", succession: "epoch" };

// An operation of the history, or a change that a dry run tells of.
export function title({ verb, kind, key, before }) {
  const what = KINDS[kind] ?? kind;
  if (kind === "hold") return verb === "put" ? `hold ${key}` : `resume ${key}`;
  if (kind === "member") return verb === "put" ? (before ? `proxy ${key} says anew what it is` : `proxy ${key} joins`) : `proxy ${key} leaves`;
  if (verb === "delete") return `delete ${what} ${key}`;
  return `${before ? "change" : "create"} ${what} ${key}`;
}

// The history has `before: {body, revision}` and `body`, a dry run has the bodies themselves.
function bodies(change) {
  if ("after" in change) return [change.before, change.after];
  return [change.before?.body, change.verb === "put" ? change.body : null];
}

function line({ member, before, after }) {
  // What is stored leaves out what is at its default.
  const cell = (tag, value) => h("td", {}, value === null ? h("span", { class: "quiet" }, "not set") : h(tag, {}, brief(value, 500)));
  return h("tr", {}, h("th", { scope: "row" }, brief(member)), cell("del", before), cell("ins", after));
}

function one(change) {
  const lines = differences(...bodies(change));
  const left = lines.length - LINES_MAX;
  const head = h("tr", {}, ...["Member", "Before", "After"].map((name) => h("th", { scope: "col" }, name)));
  return h(
    "section",
    { class: "change" },
    h("h4", {}, brief(title(change))),
    lines.length > 0
      ? h("table", { class: "diff" }, h("thead", {}, head), h("tbody", {}, ...lines.slice(0, LINES_MAX).map(line)))
      : h("p", { class: "quiet" }, "No member is another one."),
    left > 0 && h("p", { class: "quiet" }, `and ${plural(left, "more member")}`),
  );
}

export function changes(list) {
  const left = list.length - OPS_MAX;
  return h(
    "div",
    { class: "changes" },
    ...list.slice(0, OPS_MAX).map(one),
    left > 0 && h("p", { class: "quiet" }, `and ${plural(left, "more object")}`),
  );
}
