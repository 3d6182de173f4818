/**
 * The way in, as the joiner sees it: ask a seed who its gatekeepers are, ask each of them, and wait
 * for the view that holds it. It goes on until it is in, or is told why it never will be.
 */
import type { Prng } from "../../base/prng.ts";
import type { ConfigurationId } from "./configuration.ts";
import { isSameId } from "./configuration.ts";
import type { Member } from "./member.ts";

/** Who lets it in, as a seed or gatekeeper says. */
export interface Gatekeepers {
  readonly configuration: ConfigurationId;
  readonly addresses: readonly string[];
}

export type JoinMessage =
  | { readonly kind: "who"; readonly to: string; readonly joiner: Member }
  | {
    readonly kind: "join";
    readonly to: string;
    readonly joiner: Member;
    readonly configuration: ConfigurationId;
    /** It alone sends the whole view. */
    readonly wantsView: boolean;
  };

export interface JoinTimes {
  /** After the first failure; doubles up to the longest. */
  readonly pauseMs: number;
  readonly pauseMsMax: number;
  /** For how long a seed may think, and a view change take. */
  readonly answerMs: number;
  readonly changeMs: number;
}

export const lanJoin: JoinTimes = {
  pauseMs: 200,
  pauseMsMax: 5_000,
  answerMs: 2_000,
  changeMs: 30_000,
};

type Phase = "pausing" | "asking" | "waiting" | "done";

export class Joining {
  readonly #joiner: Member;
  readonly #times: JoinTimes;
  readonly #prng: Prng;
  #seeds: readonly string[];
  #seed = 0;
  #failures = 0;
  #phase: Phase = "pausing";
  #untilMs: number;
  #gate: Gatekeepers | undefined = undefined;
  /** Of whom an answer is awaited. */
  readonly #waiting = new Set<string>();
  /** Who said that it is a member. */
  #admittedBy: string | undefined = undefined;
  #messages: JoinMessage[] = [];
  /** What went wrong last, for people. */
  problem: string | undefined = undefined;

  constructor(
    joiner: Member,
    seeds: readonly string[],
    times: JoinTimes,
    prng: Prng,
    nowMs: number,
  ) {
    this.#joiner = joiner;
    this.#seeds = seeds;
    this.#times = times;
    this.#prng = prng;
    this.#untilMs = nowMs;
  }

  /** When {@link tick} has something to do. */
  get dueMs(): number {
    return this.#phase === "done" ? Infinity : this.#untilMs;
  }

  /** Seeds are found at any time. */
  set seeds(seeds: readonly string[]) {
    this.#seeds = seeds;
  }

  tick(nowMs: number): void {
    if (this.#phase === "done" || nowMs < this.#untilMs) return;
    if (this.#phase === "pausing") return this.#ask(nowMs);
    if (this.#admittedBy !== undefined && this.#gate !== undefined) {
      // Whoever was to send the view did not.
      const { configuration } = this.#gate;
      return this.#join({ configuration, addresses: [this.#admittedBy] }, nowMs);
    }
    const silent = [...this.#waiting].join(", ");
    this.#fail(`no answer from ${silent} in time`, nowMs);
  }

  /** A seed's answer. */
  gatekeepers(from: string, gate: Gatekeepers, nowMs: number): void {
    if (this.#phase !== "asking" || !this.#waiting.has(from)) return;
    this.#join(gate, nowMs);
  }

  /** A gatekeeper is in another configuration. */
  moved(from: string, gate: Gatekeepers, nowMs: number): void {
    if (this.#phase !== "waiting" || !this.#waiting.has(from)) return;
    // Several say the same.
    if (this.#gate !== undefined && gate.configuration.epoch <= this.#gate.configuration.epoch) {
      if (isSameId(this.#gate.configuration, gate.configuration)) return;
      // It is behind the others and does not know them yet.
      this.#waiting.delete(from);
      if (this.#waiting.size === 0) this.#fail(`${from} is in an older configuration`, nowMs);
      return;
    }
    this.#join(gate, nowMs);
  }

  /** A gatekeeper that was not asked for the view says that there is one with the joiner in it. */
  admitted(from: string, nowMs: number): void {
    if (this.#phase !== "waiting" || !this.#waiting.delete(from)) return;
    this.#admittedBy = from;
    this.#untilMs = Math.min(this.#untilMs, nowMs + this.#times.answerMs);
  }

  /** The call to a seed or gatekeeper failed, or was refused with a reason that may pass. */
  failed(from: string, why: string, nowMs: number): void {
    if (!this.#waiting.delete(from)) return;
    this.problem = `${from}: ${why}`;
    if (this.#waiting.size === 0) this.#fail(this.problem, nowMs);
  }

  /** It is in. */
  joined(): void {
    this.#phase = "done";
    this.#waiting.clear();
  }

  take(): readonly JoinMessage[] {
    const messages = this.#messages;
    this.#messages = [];
    return messages;
  }

  #ask(nowMs: number): void {
    if (this.#seeds.length === 0) return this.#fail("there is nobody to ask", nowMs);
    const to = this.#seeds[this.#seed++ % this.#seeds.length];
    this.#phase = "asking";
    this.#untilMs = nowMs + this.#times.answerMs;
    this.#waiting.add(to);
    this.#messages.push({ kind: "who", to, joiner: this.#joiner });
  }

  #join(gate: Gatekeepers, nowMs: number): void {
    this.#gate = gate;
    this.#admittedBy = undefined;
    this.#phase = "waiting";
    this.#untilMs = nowMs + this.#times.changeMs;
    this.#waiting.clear();
    const { configuration } = gate;
    for (const [at, to] of [...new Set(gate.addresses)].entries()) {
      this.#waiting.add(to);
      const joiner = this.#joiner;
      this.#messages.push({ kind: "join", to, joiner, configuration, wantsView: at === 0 });
    }
  }

  #fail(why: string, nowMs: number): void {
    this.problem = why;
    this.#phase = "pausing";
    this.#waiting.clear();
    this.#gate = undefined;
    this.#admittedBy = undefined;
    const { pauseMs, pauseMsMax } = this.#times;
    const most = Math.min(pauseMs * 2 ** Math.min(this.#failures++, 20), pauseMsMax);
    this.#untilMs = nowMs + most / 2 + this.#prng.below(Math.max(1, Math.round(most / 2)));
  }
}
