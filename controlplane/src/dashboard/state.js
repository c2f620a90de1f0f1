// What every view looks at: the fleet, the latest revisions, and what the plots show. All of it is bounded.

import { get, isForbidden, list, path, Refusal } from "./api.js";
import { soon } from "./dom.js";
import { before, latest } from "./history.js";
import { Poll } from "./poll.js";
import { Watch } from "./watch.js";

const FLEET_EVERY = 2_000;
// A token may be given another role meanwhile.
const FORBIDDEN_EVERY = 15_000;
const PROXIES_MAX = 10_000;
const REVISIONS_MAX = 500;
// Of their lines as they came.
const REVISIONS_CHARS_MAX = 16 << 20;
// Five minutes.
const SAMPLES_MAX = 150;

function unseen() {
  return { items: [], more: false, head: 0, epoch: null, loaded: false };
}

// It says `fleet` and `trouble` when they are new, `connection`, `commit` for each revision that comes, `revisions` now and then
// for all of them, and `anew` when nothing is known of what came before.
class State extends EventTarget {
  connection = "connecting";
  // Why the fleet, or the history, could not be asked for last time.
  troubles = { fleet: null, history: null };
  fleet = unseen();
  // Oldest first, without a gap.
  revisions = [];
  // {writes, lag, draining, requests, errors}; per second, but for lag and draining. Null is not known.
  samples = [];
  // A second, of the whole fleet.
  traffic = { supported: null, requests: null, errors: null };
  #lengths = new Map();
  #chars = 0;
  #since = { commits: 0, at: 0 };
  #counted = null;
  #histories = 0;

  start() {
    this.stop();
    this.poll = new Poll(FLEET_EVERY, () => this.#look(), (error) => this.#failed(error));
    // A proxy that stands still lets whoever asks it wait, and the fleet is not to wait for that.
    this.counting = new Poll(FLEET_EVERY, () => this.#count(), (error) => this.#uncounted(error));
    this.#history();
  }

  stop() {
    this.poll?.stop();
    this.counting?.stop();
    this.watch?.stop();
    clearTimeout(this.retry);
    this.#histories += 1;
  }

  // Everything that was seen: whoever comes next may have to see less.
  forget() {
    this.stop();
    this.connection = "connecting";
    this.troubles = { fleet: null, history: null };
    this.fleet = unseen();
    this.samples = [];
    this.traffic = { supported: null, requests: null, errors: null };
    this.#since = { commits: 0, at: 0 };
    this.#counted = null;
    this.#empty();
    for (const name of ["connection", "trouble"]) this.#say(name);
  }

  // What could not be asked for; null if all could be.
  get trouble() {
    return this.troubles.fleet ?? this.troubles.history;
  }

  // Why it is not known how the fleet stands now; null if it is known. That nothing is heard is noticed sooner than that an
  // answer stays away.
  doubt() {
    if (this.troubles.fleet) return this.troubles.fleet;
    return this.connection === "reconnecting" ? new Error("The control plane is not heard.") : null;
  }

  // Looks at the fleet sooner: somebody waits for it.
  hurry() {
    this.poll?.now();
  }

  #say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #connect(connection) {
    if (connection !== this.connection) {
      this.connection = connection;
      this.#say("connection");
    }
  }

  #stands(what, error) {
    if (!error && !this.troubles[what]) return;
    this.troubles[what] = error;
    this.#say("trouble");
  }

  #failed(error) {
    if (isForbidden(error)) this.fleet = unseen();
    this.#push({ writes: null, lag: null, draining: null, requests: null, errors: null });
    this.#since = { commits: 0, at: 0 };
    this.#stands("fleet", error);
  }

  async #look() {
    const { items, more, first } = await list("/v1/fleet", PROXIES_MAX);
    // Another store: what was seen of the former one is of no use.
    const isAnother = this.fleet.epoch !== null && this.fleet.epoch !== first.epoch;
    this.fleet = { items, more, head: first.head, epoch: first.epoch, loaded: true };
    this.#sample();
    this.#stands("fleet", null);
    this.#say("fleet");
    if (isAnother) this.#history();
  }

  #tell = soon(() => this.#say("revisions"));

  // What proxies have counted of requests, without the names of services.
  async #count() {
    const { items } = await list("/v1/traffic", PROXIES_MAX, "services=0&");
    const at = performance.now();
    const counts = totals(items);
    const before = this.#counted;
    if (before) {
      const seconds = (at - before.at) / 1_000;
      const rate = (name) => grown(before.counts, counts, name) / seconds;
      this.traffic = { supported: true, requests: rate("requests"), errors: rate("errors") };
    }
    this.#counted = { at, counts };
  }

  // A control plane that is older counts nothing, and is not asked again.
  #uncounted(error) {
    this.#counted = null;
    const isUnknown = error instanceof Refusal && error.status === 404;
    this.traffic = { supported: isUnknown ? false : this.traffic.supported, requests: null, errors: null };
    if (isUnknown) this.counting.stop();
  }

  #sample() {
    const at = performance.now();
    const seconds = (at - this.#since.at) / 1_000;
    const { items } = this.fleet;
    if (this.#since.at) {
      this.#push({
        writes: this.#since.commits / seconds,
        lag: items.reduce((most, proxy) => (proxy.state === "detached" ? most : Math.max(most, proxy.lag)), 0),
        draining: items.reduce((sum, proxy) => sum + proxy.draining.length, 0),
        requests: this.traffic.requests,
        errors: this.traffic.errors,
      });
    }
    this.#since = { commits: 0, at };
  }

  #push(sample) {
    this.samples.push(sample);
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }

  // Begins with the last revisions there are, and follows.
  async #history() {
    this.watch?.stop();
    clearTimeout(this.retry);
    this.#histories += 1;
    const turn = this.#histories;
    try {
      const { head } = await get("/v1/fleet?limit=1");
      const page = await latest(head);
      if (turn !== this.#histories) return;
      this.#empty();
      this.#stands("history", null);
      for (const commit of page) this.#add(commit, JSON.stringify(commit).length);
      this.#tell();
      this.#say("anew");
      this.#follow(page.at(-1)?.revision ?? head);
    } catch (error) {
      if (turn !== this.#histories || (error instanceof Refusal && error.status === 401)) return;
      if (isForbidden(error)) this.#empty();
      this.#stands("history", error);
      this.#connect(isForbidden(error) ? "forbidden" : "reconnecting");
      this.#tell();
      this.retry = setTimeout(() => this.#history(), isForbidden(error) ? FORBIDDEN_EVERY : 3_000);
    }
  }

  #empty() {
    this.#lengths.clear();
    this.#chars = 0;
    this.revisions = [];
  }

  #follow(since) {
    const watch = new Watch(since, {
      commit: (commit, length) => {
        if (watch !== this.watch) return;
        this.#add(commit, length);
        this.#since.commits += 1;
        this.#say("commit", commit);
        this.#tell();
      },
      beat: (head) => {
        if (watch === this.watch) this.fleet.head = Math.max(this.fleet.head, head);
      },
      state: (connection) => watch === this.watch && this.#connect(connection),
      lost: () => watch === this.watch && this.#history(),
    });
    this.watch = watch;
    watch.run();
  }

  #add(commit, length) {
    this.revisions.push(commit);
    this.#weigh(commit, length);
    while (this.revisions.length > REVISIONS_MAX || (this.#chars > REVISIONS_CHARS_MAX && this.revisions.length > 1)) {
      const { revision } = this.revisions.shift();
      this.#chars -= this.#lengths.get(revision);
      this.#lengths.delete(revision);
    }
  }

  #weigh({ revision }, length) {
    this.#lengths.set(revision, length);
    this.#chars += length;
  }

  // Those before the first one that is kept; whether there were any.
  async older() {
    const first = this.revisions[0]?.revision ?? this.fleet.head + 1;
    if (this.revisions.length >= REVISIONS_MAX) return false;
    const items = (await before(first)).slice(this.revisions.length - REVISIONS_MAX);
    this.revisions.unshift(...items);
    for (const commit of items) this.#weigh(commit, JSON.stringify(commit).length);
    this.#tell();
    return items.length > 0;
  }
}

// By proxy, since one that starts again counts anew.
function totals(items) {
  const sum = (services, name) => services.reduce((sum, service) => sum + service[name], 0);
  const counted = items.filter((item) => item.services);
  return new Map(
    counted.map(({ proxy, services }) => [proxy, { requests: sum(services, "requests"), errors: sum(services, "errors") }]),
  );
}

function grown(before, now, name) {
  let sum = 0;
  for (const [proxy, counts] of now) {
    const earlier = before.get(proxy);
    if (earlier) sum += Math.max(0, counts[name] - earlier[name]);
  }
  return sum;
}

// Of proxies that may still serve: whose upstream drains or warms, and where.
export function moving(items, kind, isMeant) {
  const found = [];
  for (const proxy of items) {
    for (const entry of proxy[kind]) if (isMeant(entry.upstream)) found.push({ proxy: proxy.name, ...entry });
  }
  return found;
}

export function isHeld(service) {
  return get(path("services", service, "hold")).then(
    (hold) => hold,
    (error) => {
      if (error instanceof Refusal && error.status === 404) return null;
      throw error;
    },
  );
}

export const state = new State();

// Listens to the state until the answer is called.
export function listening(listeners) {
  const entries = Object.entries(listeners);
  for (const [name, listener] of entries) state.addEventListener(name, listener);
  return () => {
    for (const [name, listener] of entries) state.removeEventListener(name, listener);
  };
}
