// Asking again and again: one question at a time, none while nobody looks, and the rarer the longer an answer takes.

const SHARE = 4;
// Between two answers that somebody waits for.
const HURRIED = 250;

export class Poll {
  // `ask(signal)` does it, and may answer after how many milliseconds again; `failed(error)` is told when it does not succeed.
  constructor(every, ask, failed = () => {}) {
    Object.assign(this, { every, ask, failed, stopped: false });
    this.wake = () => !document.hidden && this.now();
    document.addEventListener("visibilitychange", this.wake);
    this.now();
  }

  // At once, unless it is under way; then right after.
  now() {
    clearTimeout(this.timer);
    if (this.stopped) return;
    if (this.asking) this.hurried = true;
    else this.turn();
  }

  async turn() {
    const began = performance.now();
    this.asking = new AbortController();
    this.hurried = false;
    try {
      this.every = (await this.ask(this.asking.signal)) ?? this.every;
    } catch (error) {
      if (!this.stopped) this.failed(error);
    }
    this.asking = null;
    if (this.stopped || document.hidden) return;
    const took = performance.now() - began;
    const every = this.hurried ? Math.min(this.every, HURRIED) : this.every;
    this.timer = setTimeout(() => this.now(), Math.max(every, took * SHARE));
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.asking?.abort();
    document.removeEventListener("visibilitychange", this.wake);
  }
}
