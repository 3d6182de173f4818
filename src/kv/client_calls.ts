/**
 * Calls with a deadline over the tries of several nodes. A node that cannot be reached, or that
 * knows of no leader, is left for the next one, or for the leader where the error names it.
 */
import type { Clock, Random, Timer } from "../runtime/port.ts";
import { Code, CoveyError } from "../base/error.ts";
import { answerMs } from "./answer_time.ts";
import { didNothing, isStopped, leaderOf, typedError, withUnknownOutcome } from "./client_error.ts";
import type { CallOptions } from "../ttrpc/service.ts";
import type { KvCallOptions } from "./client_types.ts";
import type { KvEndpoint } from "./client_endpoint.ts";
import { Prng } from "../base/prng.ts";

/** What may be done about a call whose outcome is unknown. */
export type Repeat =
  /** Done once or twice is the same. */
  | "always"
  /** Only what certainly did nothing is tried again. */
  | "undone";

export interface CallPlan {
  readonly repeat: Repeat;
  /** It may take as long as it likes: a node that is silent is not given up. */
  readonly waits?: boolean;
}

export interface CallsParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly endpoints: readonly KvEndpoint[];
  readonly timeoutMs: number;
  readonly callsMax: number;
}

/** The first waits between tries; they double. */
const waitMsLeast = 25;
const waitMsMost = 500;
/** How long a node may be silent before another one is asked, where there is one; doubles too. */
const silentMs = 2_000;

/** Of a call that is a part of another one. */
export interface TimedCallOptions extends KvCallOptions {
  /** When the whole has to be done, by the clock; `timeoutMs` is what the caller gave it. */
  readonly untilMs?: number;
}

export class Calls {
  readonly #parts: CallsParts;
  readonly #prng: Prng;
  #current = 0;
  #open = 0;
  readonly #closing = new AbortController();

  constructor(parts: CallsParts) {
    if (parts.endpoints.length === 0) {
      throw new CoveyError(Code.invalidArgument, "a client needs at least one endpoint");
    }
    this.#parts = parts;
    const seed = new Uint8Array(4);
    parts.random.fill(seed);
    this.#prng = new Prng(new DataView(seed.buffer).getUint32(0));
  }

  get clock(): Clock {
    return this.#parts.clock;
  }

  get timeoutMs(): number {
    return this.#parts.timeoutMs;
  }

  get callsMax(): number {
    return this.#parts.callsMax;
  }

  tooMany(): CoveyError {
    return new CoveyError(
      Code.resourceExhausted,
      `the client has ${this.callsMax} calls under way, its limit: wait for some of them`,
      { sent: false },
    );
  }

  /** For names that nobody else may draw. */
  randomBytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#parts.random.fill(bytes);
    return bytes;
  }

  /** Fires when the client is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** The node that is asked first. */
  get endpoint(): KvEndpoint {
    return this.#parts.endpoints[this.#current];
  }

  /** The signal, which fires when the client is closed as well. */
  untilClosed(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.closing : AbortSignal.any([signal, this.closing]);
  }

  close(): void {
    this.#closing.abort(new CoveyError(Code.canceled, "the client is closed", { sent: false }));
  }

  /** Another node next time, if this one still is the first. */
  leave(endpoint: KvEndpoint, error?: unknown): void {
    const { endpoints } = this.#parts;
    const leader = leaderOf(error)?.address;
    const named = endpoints.findIndex(({ address }) => address !== "" && address === leader);
    if (named >= 0 && endpoints[named] !== endpoint) this.#current = named;
    else if (this.endpoint === endpoint) this.#current = (this.#current + 1) % endpoints.length;
  }

  /** Whether there is another node to ask. */
  get hasOthers(): boolean {
    return this.#parts.endpoints.length > 1;
  }

  /** The pause after so many failures in a row. */
  pauseMs(failures: number): number {
    const { length } = this.#parts.endpoints;
    // Every node is asked once before anybody is asked again.
    const rounds = Math.floor(failures / length);
    if (rounds === 0) return 0;
    const most = Math.min(waitMsMost, waitMsLeast * 2 ** Math.min(rounds - 1, 10));
    return most * (0.5 + this.#prng.fraction() / 2);
  }

  /** Resolves after this time; rejects when the signal fires. */
  pause(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(canceledBy(signal));
    if (this.closing.aborted) return Promise.reject(this.closing.reason);
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        timer.cancel();
        signal?.removeEventListener("abort", abort);
        this.closing.removeEventListener("abort", close);
        settle();
      };
      const abort = (): void => end(() => reject(canceledBy(signal!)));
      const close = (): void => end(() => reject(this.closing.reason));
      const timer: Timer = this.clock.timer(ms, () => end(resolve), undefined);
      signal?.addEventListener("abort", abort);
      this.closing.addEventListener("abort", close);
    });
  }

  /**
   * When a call that begins now has to be done, by the clock. A call without any time left fails
   * with `deadline_exceeded`, as in ttrpc; less than none is a mistake.
   */
  endOf(timeoutMs: number): number {
    if (timeoutMs >= 0) return this.clock.monotonicMs() + timeoutMs;
    const message = `timeoutMs is ${timeoutMs}; give milliseconds, 0 or more`;
    throw new CoveyError(Code.invalidArgument, message, { sent: false });
  }

  async run<T>(
    options: TimedCallOptions,
    plan: CallPlan,
    attempt: (endpoint: KvEndpoint, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    if (this.closing.aborted) throw this.closing.reason;
    if (this.#open >= this.callsMax) throw this.tooMany();
    this.#open++;
    try {
      return await this.#tries(options, plan, attempt);
    } finally {
      this.#open--;
    }
  }

  async #tries<T>(
    options: TimedCallOptions,
    plan: CallPlan,
    attempt: (endpoint: KvEndpoint, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const { signal } = options;
    const timeoutMs = options.timeoutMs ?? (plan.waits ? Infinity : this.timeoutMs);
    const untilMs = options.untilMs ?? this.endOf(timeoutMs);
    /** An earlier try may have done it: nothing that a later one says can take that back. */
    let mayBeDone = false;
    let pauseMs: number | undefined = 0;
    const stopped = new Set<KvEndpoint>();
    for (let failures = 0;;) {
      let { endpoint } = this;
      let error: CoveyError;
      let keptMs = 0;
      try {
        if (pauseMs > 0) await this.pause(pauseMs, signal);
        if (signal?.aborted) throw canceledBy(signal);
        const leftMs = untilMs - this.clock.monotonicMs();
        endpoint = this.endpoint;
        if (!(leftMs > 0)) throw tooLate(timeoutMs);
        keptMs = answerMs(leftMs);
        return await attempt(endpoint, this.#attemptOptions(leftMs, failures, plan, signal));
      } catch (thrown) {
        error = CoveyError.from(thrown);
      }
      const leftMs = untilMs - this.clock.monotonicMs();
      pauseMs = this.#nextTry(error, plan, ++failures, leftMs);
      // The node used all of the time, and in the rest no other one could say more than it did.
      if (error.code === Code.deadlineExceeded && leftMs <= keptMs) pauseMs = undefined;
      mayBeDone ||= !didNothing(error);
      if (isStopped(error)) stopped.add(endpoint);
      // No node that is known will ever do it.
      if (stopped.size === this.#parts.endpoints.length) pauseMs = undefined;
      if (signal?.aborted) error = canceledBy(signal);
      if (pauseMs === undefined || signal?.aborted || this.closing.aborted) {
        throw typedError(mayBeDone ? withUnknownOutcome(error) : error);
      }
      this.leave(endpoint, error);
    }
  }

  #attemptOptions(
    leftMs: number,
    failures: number,
    plan: CallPlan,
    signal: AbortSignal | undefined,
  ): CallOptions {
    const { endpoints } = this.#parts;
    const silence = endpoints.length === 1 || plan.waits || plan.repeat !== "always"
      ? Infinity
      : silentMs * 2 ** Math.floor(failures / endpoints.length);
    const timeoutMs = Math.min(leftMs, silence);
    const ends = plan.waits ? this.untilClosed(signal) : signal;
    return timeoutMs === Infinity ? { signal: ends } : { signal: ends, timeoutMs };
  }

  /** How long to wait before the next try; undefined when there is to be none. */
  #nextTry(
    error: CoveyError,
    plan: CallPlan,
    failures: number,
    leftMs: number,
  ): number | undefined {
    const lost = error.code === Code.unavailable || error.code === Code.deadlineExceeded;
    if (!lost || (plan.repeat !== "always" && !didNothing(error))) return undefined;
    const pauseMs = this.pauseMs(failures);
    // Whoever has no time left for another try is told what happened, not that time is up.
    return pauseMs < leftMs ? pauseMs : undefined;
  }
}

export function canceledBy(signal: AbortSignal): CoveyError {
  const { reason } = signal;
  if (reason instanceof CoveyError) return reason;
  const timedOut = reason instanceof Error && reason.name === "TimeoutError";
  return timedOut
    ? new CoveyError(Code.deadlineExceeded, "deadline exceeded", { cause: reason, sent: false })
    : new CoveyError(Code.canceled, "the call was canceled", { cause: reason, sent: false });
}

function tooLate(timeoutMs: number): CoveyError {
  return new CoveyError(Code.deadlineExceeded, `not done within ${timeoutMs} ms`, { sent: false });
}
