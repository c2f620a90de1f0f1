// `GET /v1/watch`, followed for as long as the page is looked at: from the last revision that was seen, again and again.

import { ask, Refusal } from "./api.js";

// A beat comes every second.
const SILENCE_MAX = 6_000;
const AGAIN_FIRST = 500;
const AGAIN_LAST = 10_000;
// A revision holds 1 MiB of bodies, and what they replaced.
const LINE_MAX = 16 << 20;

function pause(ms) {
  return new Promise((over) => setTimeout(over, ms));
}

// One after another, the lines of a body; a line that is too long is an error.
async function* lines(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    if (rest.length > LINE_MAX) throw new Error("A revision is too long to be shown.");
    yield* parts;
  }
}

// Whether anybody looks: a hidden page holds no connection.
function shown() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((now) => document.addEventListener("visibilitychange", now, { once: true })).then(shown);
}

export class Watch {
  // `on` has `commit(commit, length)`, `beat(head)`, `state(name)`, and `lost()`, after which nothing follows: history does
  // not go on from where this stood.
  constructor(since, on) {
    this.since = since;
    this.on = on;
    this.stopped = false;
  }

  stop() {
    this.stopped = true;
    this.connection?.abort();
  }

  async run() {
    const hide = () => document.hidden && this.connection?.abort();
    document.addEventListener("visibilitychange", hide);
    let again = AGAIN_FIRST;
    while (!this.stopped) {
      await shown();
      if (this.stopped) break;
      try {
        await this.follow(() => (again = AGAIN_FIRST));
      } catch (error) {
        if (this.stopped) break;
        if (error instanceof Refusal && error.status === 401) break;
        if (error instanceof Refusal && [403, 410, 422].includes(error.status)) {
          this.on.lost();
          break;
        }
      }
      if (this.stopped) break;
      this.on.state(document.hidden ? "paused" : "reconnecting");
      // Pages of many people do not come back at the same moment.
      await pause(again * (0.75 + Math.random() / 2));
      again = Math.min(again * 2, AGAIN_LAST);
    }
    document.removeEventListener("visibilitychange", hide);
  }

  async follow(well) {
    this.connection = new AbortController();
    let silence;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(() => this.connection.abort(), SILENCE_MAX);
    };
    alive();
    try {
      const answer = await ask("GET", `/v1/watch?since=${this.since}`, { signal: this.connection.signal });
      for await (const line of lines(answer.body, alive)) {
        if (this.stopped) return;
        const said = JSON.parse(line);
        if (said.revision !== undefined) {
          this.since = said.revision;
          this.on.commit(said, line.length);
        } else if (said.beat !== undefined) {
          this.on.beat(said.beat);
        }
        this.on.state("live");
        well();
      }
    } finally {
      clearTimeout(silence);
      this.connection.abort();
    }
  }
}
