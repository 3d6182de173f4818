/** Changes that failed wait before they are tried again, each time longer. */
import { type Change, changeKey } from "./types.ts";
import { spell } from "./words.ts";

const firstMs = 5_000;
const longestMs = 60_000;
/** One that was not tried for so long counts as new. */
const forgetMs = 600_000;

interface Hold {
  readonly why: string;
  readonly waitMs: number;
  readonly untilMs: number;
}

export class Holds {
  readonly #holds = new Map<string, Hold>();

  failed(change: Change, why: string, nowMs: number): void {
    const before = this.#holds.get(changeKey(change));
    const waitMs = before === undefined ? firstMs : Math.min(2 * before.waitMs, longestMs);
    this.#holds.set(changeKey(change), { why, waitMs, untilMs: nowMs + waitMs });
  }

  done(change: Change): void {
    this.#holds.delete(changeKey(change));
  }

  /** Why it must wait, as a sentence; undefined when it need not. */
  reason(change: Change, nowMs: number): string | undefined {
    const hold = this.#holds.get(changeKey(change));
    if (hold === undefined || nowMs >= hold.untilMs) return undefined;
    return `it failed (${hold.why}) and is tried again in ${spell(hold.untilMs - nowMs)}`;
  }

  /** What nobody asks for any more takes no room. */
  tidy(nowMs: number): void {
    for (const [key, { untilMs }] of this.#holds) {
      if (nowMs - untilMs > forgetMs) this.#holds.delete(key);
    }
  }

  clear(): void {
    this.#holds.clear();
  }
}
