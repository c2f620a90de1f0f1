// An action: asked back, done, waited for with whom it waits for, and told.

import { Forgotten, Refusal, words, write } from "./api.js";
import { notice, open } from "./dialog.js";
import { h, say } from "./dom.js";
import { failure, laggards, reached, success } from "./outcome.js";
import { moving, state } from "./state.js";

const HURRY_PROXIES_MAX = 200;

// `truth`: what is true once it is answered, as a sentence. `drains(key)`: whether it waits for this `service/id`, too.
// `fields` are those of a form, and `request(values)` makes {method, path, body} of them.
export function act({ title, explain, fields = [], label, truth, request, drains, done }) {
  const status = h("div", { class: "waiting", role: "status" });
  const go = h("button", { type: "submit", class: "primary" }, label);
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const ask = h("div", {}, ...[explain].flat().map((text) => h("p", {}, text)), ...fields);
  const form = h("form", { method: "dialog" }, ask, status, h("p", { class: "buttons" }, close, go));
  const dialog = open(title, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
    for (const input of form.querySelectorAll("input")) input.disabled = true;
    go.hidden = true;
    say(close, "Close, and go on waiting");
    const { method, path, body } = request(values);
    const waiting = new Waiting(status, drains);
    const isDone = await write(method, path, body).then(
      (answer) => told(dialog, status, success(answer, truth), `${title}: ${truth} ${reached(answer)}`, "well"),
      (error) => told(dialog, status, failure(error), `${title}: ${words(error)}`, "bad", error),
    );
    waiting.stop();
    say(close, "Close");
    go.hidden = isDone;
    for (const input of form.querySelectorAll("input")) input.disabled = isDone;
    if (!isDone) say(go, "Try again");
    done?.();
  });
}

// In the dialog, or beside it once it is closed. A refused token has a dialog of its own.
function told(dialog, status, content, text, tone, error) {
  if (error instanceof Forgotten) return false;
  if (dialog.open) status.replaceChildren(content);
  else notice(text, tone);
  if (error instanceof Refusal && error.status === 401) dialog.close();
  return !error;
}

// How long it has been, and who still drains.
class Waiting {
  constructor(place, drains = () => false) {
    const began = performance.now();
    this.clock = h("p", {});
    this.list = h("div");
    this.drains = drains;
    place.replaceChildren(this.clock, h("progress", { "aria-label": "Waiting for the fleet" }), this.list);
    const tick = () => {
      const seconds = Math.floor((performance.now() - began) / 1_000);
      say(this.clock, seconds < 1 ? "Waiting for the fleet …" : `Waiting for the fleet for ${seconds} s …`);
      if (seconds >= 1 && state.fleet.items.length <= HURRY_PROXIES_MAX) state.hurry();
    };
    tick();
    this.timer = setInterval(tick, 1_000);
    this.look = () => this.draw();
    state.addEventListener("fleet", this.look);
  }

  draw() {
    const { items } = state.fleet;
    const lagging = items
      .filter((proxy) => proxy.state !== "detached" && proxy.lag > 0)
      .map(({ name, applied }) => ({ proxy: name, applied }));
    this.list.replaceChildren(laggards({ lagging, draining: moving(items, "draining", this.drains) }));
  }

  stop() {
    clearInterval(this.timer);
    state.removeEventListener("fleet", this.look);
  }
}
