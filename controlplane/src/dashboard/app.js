// The page: its places, the token it asks for, and how it stands with the control plane.

import { get, onUnknown, Refusal, setToken, token, words } from "./api.js";
import { field, open } from "./dialog.js";
import { h, say } from "./dom.js";
import { fleet, proxy } from "./fleet.js";
import { limit, limits } from "./limits.js";
import { overview } from "./overview.js";
import { revisions } from "./revisions.js";
import { service } from "./service.js";
import { services } from "./services.js";
import { listening, state } from "./state.js";

const PLACES = {
  "": () => overview(),
  services: (name) => (name ? service(name) : services()),
  fleet: (name) => (name ? proxy(name) : fleet()),
  limits: (id) => (id ? limit(id) : limits()),
  revisions: (revision) => revisions(revision),
};

const CONNECTIONS = {
  connecting: ["Connecting", "quiet"],
  live: ["Live", "well"],
  reconnecting: ["Reconnecting …", "warn"],
  paused: ["Paused", "quiet"],
  forbidden: ["Not allowed", "warn"],
  locked: ["Token needed", "warn"],
};

const main = document.getElementById("main");
let view = null;

function nowhere() {
  return { title: "Nowhere", element: h("p", {}, "There is nothing here. "), stop() {} };
}

// `#/services/web` as ["services", "web"].
function place() {
  try {
    return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    return ["nowhere"];
  }
}

function go() {
  const [name = "", part] = place();
  view?.stop();
  view = Object.hasOwn(PLACES, name) ? PLACES[name](part) : nowhere();
  main.replaceChildren(view.element);
  document.title = `${view.title} – Vulcan`;
  for (const link of document.querySelectorAll("#views a")) {
    const isHere = link.getAttribute("href").replace(/^#\/?/, "") === name;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function connection() {
  const pill = document.getElementById("connection");
  const name = asking ? "locked" : state.trouble && state.connection === "live" ? "reconnecting" : state.connection;
  const [text, tone] = CONNECTIONS[name];
  say(pill, text);
  pill.className = `pill ${tone}`;
  const trouble = document.getElementById("trouble");
  trouble.hidden = !state.trouble || Boolean(asking);
  say(trouble, state.trouble ? words(state.trouble) : "");
  document.getElementById("forget").hidden = !token();
}

// One question, and not all of them at once: whoever presents too many wrong tokens has to wait.
async function check(text) {
  setToken(text);
  try {
    await get("/v1/fleet?limit=1");
  } catch (error) {
    // Who it is is known, whatever that is good for.
    if (!(error instanceof Refusal) || error.status !== 403) throw error;
  }
}

// Nothing stays of what a token has shown: the next one may be somebody else's.
function clear() {
  view?.stop();
  view = null;
  state.forget();
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.close();
    dialog.remove();
  }
  for (const part of [main, document.getElementById("notices")]) part.replaceChildren();
  document.title = "Vulcan";
}

let asking = null;

// Everything stands still until there is a token that is known.
function ask(wasRefused) {
  if (asking) return;
  clear();
  const refusal = h("p", { class: "bad", role: "alert" }, wasRefused ? "The token is not known any more." : "");
  const form = h(
    "form",
    { method: "dialog" },
    refusal,
    h("p", {}, "The API asks who you are. The token is kept until this tab is closed, and in this tab alone."),
    field("Token", null, { name: "token", type: "password", required: true, autofocus: true }),
    h("p", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Enter")),
  );
  asking = open("Who are you?", form);
  const dialog = asking;
  // A browser lets nobody be kept in a dialog, but there is nothing without a token.
  dialog.addEventListener("close", () => {
    if (asking !== dialog) return;
    asking = null;
    ask(wasRefused);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await check(form.elements.token.value.trim());
      asking = null;
      dialog.close();
      begin();
    } catch (error) {
      setToken(null);
      say(refusal, words(error));
    }
  });
  connection();
}

function begin() {
  state.start();
  go();
  connection();
}

onUnknown((wasPresented) => {
  setToken(null);
  ask(wasPresented);
});
document.getElementById("forget").addEventListener("click", () => {
  setToken(null);
  ask(false);
});
// Within the page, where an address that is left out names a view.
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => {
  if (asking) return;
  go();
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
listening({ connection, trouble: connection });
begin();
