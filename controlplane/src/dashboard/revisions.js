// The history, newest first: who changed what, and the way back.

import { Refusal, get, path, words, write } from "./api.js";
import { open } from "./dialog.js";
import { changes, title } from "./diff.js";
import { brief, h, plural, reconcile, say } from "./dom.js";
import { failure, success } from "./outcome.js";
import { listening, state } from "./state.js";

export function stamp(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? at : date.toLocaleString();
}

export function summary({ ops }) {
  if (ops.length === 0) return "nothing";
  const rest = ops.length > 1 ? `, and ${plural(ops.length - 1, "more change")}` : "";
  return brief(title(ops[0])) + rest;
}

// Why none is shown; nothing if some are.
export function noRevisions() {
  const { history } = state.troubles;
  if (state.revisions.length > 0) return "";
  if (history) return `What was changed is not known now: ${words(history)}`;
  return state.connection === "connecting" ? "Asking …" : "The history holds no revision.";
}

// Shows first what would be changed, and changes it when that is wanted.
async function revert(revision) {
  const status = h("div", { role: "status" }, h("p", {}, "Asking what that would change …"));
  const go = h("button", { type: "button", class: "primary", hidden: true }, "Revert");
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const dialog = open(`Back to revision ${revision}`, status, h("p", { class: "buttons" }, close, go));
  const at = path("revisions", revision, "revert");
  try {
    const dry = await write("POST", `${at}?dry_run=true`);
    const count = dry.changes.length;
    const text = `Everything that was changed after revision ${revision} would stand again as it stood then.`;
    status.replaceChildren(
      h("p", {}, count === 0 ? "Nothing would change." : `${text} That changes ${plural(count, "object")}:`),
      changes(dry.changes),
    );
    go.hidden = count === 0;
  } catch (error) {
    const isAbsent = error instanceof Refusal && error.status === 404;
    status.replaceChildren(failure(error), h("p", {}, isAbsent ? "This control plane may have no revert yet." : ""));
  }
  go.onclick = async () => {
    go.hidden = true;
    say(close, "Close, and go on waiting");
    status.replaceChildren(h("p", {}, "Waiting for the fleet …"), h("progress", { "aria-label": "Waiting for the fleet" }));
    const done = (answer) => success(answer, `All stands as at revision ${revision}.`);
    status.replaceChildren(await write("POST", at).then(done, failure));
    say(close, "Close");
  };
}

function entry(commit) {
  const details = h("details", {});
  const summarized = h(
    "summary",
    {},
    h("strong", {}, `Revision ${commit.revision}`),
    h("span", {}, summary(commit)),
    h("span", { class: "quiet" }, `by ${brief(commit.actor)}, ${stamp(commit.at)}`),
  );
  details.append(summarized);
  // Made when it is looked at: there may be thousands of them.
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) {
      const back = h("button", { type: "button", onclick: () => revert(commit.revision) }, "Revert to this revision");
      details.append(changes(commit.ops), h("p", { class: "buttons" }, back));
    }
  });
  return h("li", {}, details);
}

const SHOWN_STEP = 50;

// `asked`: the revision to open.
export function revisions(asked) {
  let most = SHOWN_STEP;
  const configuration = h("input", { type: "checkbox", id: "configuration", onchange: () => show() });
  const history = h("ol", { class: "history", "aria-label": "Revisions, newest first" });
  const none = h("p", { class: "quiet" });
  const trouble = h("p", { class: "bad", role: "alert", hidden: true });
  const show = () => {
    const isShown = ({ ops }) => !configuration.checked || ops.some(({ kind }) => kind !== "member" && kind !== "succession");
    const newest = state.revisions.filter(isShown).slice(-most).reverse();
    reconcile(history, newest, (commit) => commit.revision, entry);
    say(none, noRevisions() || (newest.length === 0 ? "None but of proxies that join and leave." : ""));
    older.hidden = state.revisions.length === 0;
  };
  const older = h("button", { type: "button" }, "Show older ones");
  older.onclick = async () => {
    most += SHOWN_STEP;
    try {
      const isThere = most <= state.revisions.length || (await state.older());
      older.disabled = !isThere;
    } catch (error) {
      trouble.hidden = false;
      say(trouble, words(error));
    }
    show();
  };
  show();
  const stop = listening({ revisions: show });
  const one = h("div");
  if (asked) {
    get(path("revisions", asked)).then(
      (commit) => {
        const item = entry(commit);
        one.replaceChildren(h("ol", { class: "history", "aria-label": "The revision that was asked for" }, item));
        item.firstElementChild.open = true;
      },
      (error) => one.replaceChildren(failure(error)),
    );
  }
  const element = h(
    "div",
    {},
    h("h1", {}, "Revisions"),
    one,
    trouble,
    h("p", {}, configuration, " ", h("label", { for: "configuration" }, "Without proxies that join and leave")),
    h("div", { class: "card" }, none, history, h("p", { class: "buttons" }, older)),
  );
  return { title: "Revisions", element, stop };
}
