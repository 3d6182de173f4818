/**
 * When a member that was evicted asks to be let in again. Whoever was paused or cut off for a while is
 * back at once. One that is still badly connected would be let in and evicted over and over, a view
 * change for everybody each time, so it first tries itself: some others have to answer it in the time
 * of one probe, as many as the failure detector would want of it. And each eviction that follows soon
 * after another makes it wait longer.
 */
import type { Prng } from "../../base/prng.ts";

export interface ComebackTimes {
  /** Before the second time; {@link growth} times as long before each that follows, up to the most. */
  readonly pauseMs: number;
  /** Whoever was a member for so long begins anew; whoever waited that long asks without a trial. */
  readonly pauseMsMax: number;
  readonly growth: number;
  /** In which those who are asked have to answer. */
  readonly answerMs: number;
  /** How many are asked. */
  readonly asked: number;
  /** So many of them have to answer. */
  readonly fraction: number;
}

export const lanComeback: ComebackTimes = {
  pauseMs: 10_000,
  pauseMsMax: 1_800_000,
  growth: 6,
  answerMs: 1_000,
  asked: 10,
  fraction: 0.7,
};

export type ComebackPhase = "member" | "pausing" | "trying" | "ready";

export class Comeback {
  readonly #times: ComebackTimes;
  readonly #prng: Prng;
  #phase: ComebackPhase = "member";
  #untilMs = Infinity;
  #joinedMs: number;
  /** Evictions and failed trials, one soon after the other. */
  #failures = 0;
  #others: readonly string[] = [];
  readonly #silent = new Set<string>();
  #wanted = 0;
  #asked: string[] = [];

  constructor(times: ComebackTimes, prng: Prng, nowMs: number) {
    this.#times = times;
    this.#prng = prng;
    this.#joinedMs = nowMs;
  }

  get phase(): ComebackPhase {
    return this.#phase;
  }

  /** When {@link tick} has something to do. */
  get dueMs(): number {
    return this.#untilMs;
  }

  joined(nowMs: number): void {
    this.#phase = "member";
    this.#joinedMs = nowMs;
    this.#untilMs = Infinity;
  }

  /** `others`: addresses of those who were members with it. */
  evicted(others: readonly string[], nowMs: number): void {
    if (nowMs - this.#joinedMs >= this.#times.pauseMsMax) this.#failures = 0;
    this.#others = others;
    this.#pause(nowMs);
  }

  tick(nowMs: number): void {
    if (nowMs < this.#untilMs) return;
    if (this.#phase === "pausing") this.#try(nowMs);
    else if (this.#phase === "trying") this.#pause(nowMs);
  }

  /** Whom to ask anything that a member answers. */
  take(): readonly string[] {
    const asked = this.#asked;
    this.#asked = [];
    return asked;
  }

  answered(from: string): void {
    if (this.#phase !== "trying" || !this.#silent.delete(from)) return;
    if (--this.#wanted === 0) this.#succeed();
  }

  #pause(nowMs: number): void {
    const { pauseMs, pauseMsMax, growth } = this.#times;
    const failures = this.#failures++;
    const pause = failures === 0 ? 0 : Math.min(pauseMs * growth ** (failures - 1), pauseMsMax);
    this.#phase = "pausing";
    // Those who were evicted together do not come back together each time.
    this.#untilMs = nowMs + pause * (1 + this.#prng.fraction() / 2);
  }

  #try(nowMs: number): void {
    const { asked, answerMs, fraction, pauseMs, pauseMsMax, growth } = this.#times;
    // All of them may be gone for good: then the seeds have to do.
    const isLong = pauseMs * growth ** (this.#failures - 2) >= pauseMsMax;
    if (isLong || this.#others.length === 0) return this.#succeed();
    const others = [...this.#others];
    for (let at = 0; at < Math.min(asked, others.length); at++) {
      const other = at + this.#prng.below(others.length - at);
      [others[at], others[other]] = [others[other], others[at]];
    }
    this.#asked = others.slice(0, asked);
    this.#silent.clear();
    for (const address of this.#asked) this.#silent.add(address);
    this.#wanted = Math.ceil(this.#asked.length * fraction);
    this.#phase = "trying";
    this.#untilMs = nowMs + answerMs;
  }

  #succeed(): void {
    this.#phase = "ready";
    this.#untilMs = Infinity;
  }
}
