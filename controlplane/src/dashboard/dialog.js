// Questions to whoever sits there.

import { h } from "./dom.js";

let last = 0;

// A dialog that is shown, and is gone from the page once it is closed. The browser keeps the focus in it, gives it back, and
// closes it by Escape.
export function open(title, ...content) {
  const name = `dialog-${(last += 1)}`;
  const dialog = h("dialog", { "aria-labelledby": name }, h("h2", { id: name }, title), ...content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// A labelled field of a form. `attributes` are those of the input, its name among them.
export function field(label, hint, attributes) {
  const name = `${attributes.name}-${(last += 1)}`;
  const described = hint ? { "aria-describedby": `${name}-hint` } : {};
  return h(
    "p",
    { class: "field" },
    h("label", { for: name }, label),
    h("input", { id: name, autocomplete: "off", spellcheck: "false", ...described, ...attributes }),
    hint && h("span", { class: "hint", id: `${name}-hint` }, hint),
  );
}

// A message that stays until it is put away, and does not get in the way.
const NOTICES_MAX = 5;

export function notice(text, tone = "well") {
  const box = document.getElementById("notices");
  const item = h(
    "div",
    { class: `notice ${tone}` },
    h("p", {}, text),
    h("button", { type: "button", "aria-label": "Put away", onclick: () => item.remove() }, "×"),
  );
  box.append(item);
  while (box.children.length > NOTICES_MAX) box.firstElementChild.remove();
}
