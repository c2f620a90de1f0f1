// The API of the server that this page comes from. The token is kept for as long as the tab is open, is sent in a header
// alone, and stands in no address.

const TOKEN = "vulcan-token";

// A browser opens six connections to a server. The stream of revisions has one, the views need some.
const WRITES_MAX = 3;

const wanting = new Set();

// What was asked for with a token that is forgotten: nobody is to see the answer.
export class Forgotten extends Error {}

let session = new AbortController();

export function token() {
  return sessionStorage.getItem(TOKEN);
}

// Whatever is still under way with the former one is broken off.
export function setToken(text) {
  session.abort(new Forgotten("The token was forgotten."));
  session = new AbortController();
  if (text) sessionStorage.setItem(TOKEN, text);
  else sessionStorage.removeItem(TOKEN);
}

// Called when the API does not know who asks; with whether a token was presented.
export function onUnknown(listener) {
  wanting.add(listener);
}

// What the API, or the way to it, answered instead of what was asked for. `problem` is as RFC 9457 has it.
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The answer has status ${status}.`);
    this.status = status;
    this.problem = problem;
  }

  is(kind) {
    return this.problem.type === `urn:vulcan:${kind}`;
  }
}

// Whoever asks may not know it, or not any more.
export function isForbidden(error) {
  return error instanceof Refusal && error.status === 403;
}

export function words(error) {
  if (error instanceof Refusal) return error.message;
  if (error.name === "TimeoutError") return "The control plane does not answer in time.";
  if (error.name === "AbortError") return "It was broken off.";
  if (error instanceof TypeError) return "The control plane is not reached.";
  return String(error.message || error);
}

// An answer whose body is still to be read.
export async function ask(method, path, { body, signal } = {}) {
  const presented = token();
  const headers = {};
  if (presented) headers.authorization = `Bearer ${presented}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, session.signal]) : session.signal,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    referrerPolicy: "no-referrer",
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  // A token that another one replaced meanwhile is no news.
  if (answer.status === 401 && presented === token()) for (const listener of wanting) listener(Boolean(presented));
  throw new Refusal(answer.status, problem);
}

export async function get(path, { signal, within = 20_000 } = {}) {
  const deadline = AbortSignal.timeout(within);
  const answer = await ask("GET", path, { signal: signal ? AbortSignal.any([signal, deadline]) : deadline });
  return answer.json();
}

// All items of a list, at most `most`; `more` says whether there would be further ones. `first` is the first page.
export async function list(path, most, query = "") {
  const items = [];
  let first = null;
  for (let cursor = ""; ; ) {
    const page = await get(`${path}?${query}limit=1000${cursor}`);
    first ??= page;
    items.push(...page.items);
    if (!page.next || items.length >= most) return { items: items.slice(0, most), more: Boolean(page.next), first };
    cursor = `&cursor=${encodeURIComponent(page.next)}`;
  }
}

let writing = 0;
const waiting = [];

// A write, which answers when it is true: longer than the longest wait there is it never takes.
export async function write(method, path, body) {
  const { signal } = session;
  if (writing >= WRITES_MAX) await new Promise((go) => waiting.push(go));
  else writing += 1;
  try {
    signal.throwIfAborted();
    const answer = await ask(method, path, { body, signal: AbortSignal.timeout(660_000) });
    return await answer.json();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else writing -= 1;
  }
}

// A path of parts that may hold anything.
export function path(...parts) {
  return `/v1/${parts.map(encodeURIComponent).join("/")}`;
}
