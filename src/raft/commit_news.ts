/**
 * Tells followers of a commit index that no append carries: a moment later, because under load the
 * next append does it for nothing.
 */
import type { Clock, Timer } from "../runtime/port.ts";

/** Shorter than what anybody who waits for it notices. */
const waitMs = 2;

export class CommitNews {
  readonly #clock: Clock;
  readonly #announce: () => void;
  #timer: Timer | undefined = undefined;

  constructor(clock: Clock, announce: () => void) {
    this.#clock = clock;
    this.#announce = announce;
  }

  /** There is something to tell, if nothing else does. */
  wait(): void {
    this.#timer ??= this.#clock.timer(waitMs, tell, this);
  }

  /** The timer's work; public only for the timer. */
  tell(): void {
    this.#timer = undefined;
    this.#announce();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}

function tell(news: CommitNews): void {
  news.tell();
}
