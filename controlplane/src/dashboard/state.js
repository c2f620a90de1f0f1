// What every view looks at: the fleet, the latest revisions, and what the plots show. All of it is bounded.

import { get, list, path, Refusal } from "./api.js";
import { soon } from "./dom.js";
import { Poll } from "./poll.js";
import { Watch } from "./watch.js";

const FLEET_EVERY = 2_000;
const PROXIES_MAX = 10_000;
const REVISIONS_FIRST = 50;
const REVISIONS_MAX = 500;
// Of their lines as they came.
const REVISIONS_CHARS_MAX = 16 << 20;
// Five minutes.
const SAMPLES_MAX = 150;

// It says `fleet` and `trouble` when they are new, `connection`, `commit` for each revision that comes, `revisions` now and then
// for all of them, and `anew` when nothing is known of what came before.
class State extends EventTarget {
  connection = "connecting";
  trouble = null;
  fleet = { items: [], more: false, head: 0, epoch: null, loaded: false };
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

  #failed(error) {
    this.trouble = error;
    this.#say("trouble");
  }

  async #look() {
    const { items, more, first } = await list("/v1/fleet", PROXIES_MAX);
    // Another store: what was seen of the former one is of no use.
    const isAnother = this.fleet.epoch !== null && this.fleet.epoch !== first.epoch;
    this.fleet = { items, more, head: first.head, epoch: first.epoch, loaded: true };
    this.#sample();
    if (this.trouble) {
      this.trouble = null;
      this.#say("trouble");
    }
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
    const isUnknown = error instanceof Refusal && [403, 404].includes(error.status);
    this.traffic = { supported: isUnknown ? false : this.traffic.supported, requests: null, errors: null };
    if (isUnknown) this.counting.stop();
  }

  #sample() {
    const at = performance.now();
    const seconds = (at - this.#since.at) / 1_000;
    const { items } = this.fleet;
    if (this.#since.at) {
      this.samples.push({
        writes: this.#since.commits / seconds,
        lag: items.reduce((most, proxy) => (proxy.state === "detached" ? most : Math.max(most, proxy.lag)), 0),
        draining: items.reduce((sum, proxy) => sum + proxy.draining.length, 0),
        requests: this.traffic.requests,
        errors: this.traffic.errors,
      });
      if (this.samples.length > SAMPLES_MAX) this.samples.shift();
    }
    this.#since = { commits: 0, at };
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
      this.#lengths.clear();
      this.#chars = 0;
      this.revisions = [];
      for (const commit of page) this.#add(commit, JSON.stringify(commit).length);
      this.#tell();
      this.#say("anew");
      this.#follow(page.at(-1)?.revision ?? head);
    } catch (error) {
      if (turn !== this.#histories || (error instanceof Refusal && error.status === 401)) return;
      this.#failed(error);
      this.#connect("reconnecting");
      this.retry = setTimeout(() => this.#history(), 3_000);
    }
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
    const since = Math.max(0, first - 1 - REVISIONS_FIRST);
    if (since === first - 1 || this.revisions.length + REVISIONS_FIRST > REVISIONS_MAX) return false;
    const page = await get(`/v1/revisions?since=${since}&limit=${first - 1 - since}`);
    this.revisions.unshift(...page.items);
    for (const commit of page.items) this.#weigh(commit, JSON.stringify(commit).length);
    this.#tell();
    return page.items.length > 0;
  }
}

async function latest(head) {
  const since = Math.max(0, head - REVISIONS_FIRST);
  try {
    return (await get(`/v1/revisions?since=${since}&limit=1000`)).items;
  } catch (error) {
    if (!(error instanceof Refusal) || error.status !== 410) throw error;
    // History does not reach as far back.
    return (await get("/v1/revisions?limit=1000")).items;
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
