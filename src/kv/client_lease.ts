/**
 * Leases that a program holds: renewed on one stream for all of them, at a third of their time, at
 * whichever node can be reached. A lease counts as lost when the store says so, and when no node
 * could be reached for its whole time: then it may have ended.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Calls } from "./client_calls.ts";
import type { KvEndpoint } from "./client_endpoint.ts";
import { Requests } from "./client_requests.ts";
import type { KvCallOptions, KvLease } from "./client_types.ts";
import type { Timer } from "../runtime/port.ts";

interface Held {
  readonly id: number;
  readonly ttlMs: number;
  readonly controller: AbortController;
  /** When it is to be renewed, and when it may be over. */
  renewMs: number;
  lostMs: number;
  /** When the renewal was sent that was not answered yet. */
  askedMs: number | undefined;
}

type KeepAliveInit = { readonly id: bigint };

/** Renewals that are due within this time of each other go together. */
const tickMsLeast = 50;
/** Parts of a lease's time after which it is renewed. */
const renewPart = 3;
/** A renewal that is not answered for this part of the lease's time is sent elsewhere. */
const silencePart = 3;

export class Leases {
  readonly #calls: Calls;
  readonly #held = new Map<number, Held>();
  #requests: Requests<KeepAliveInit> | undefined = undefined;
  #stream: AbortController | undefined = undefined;
  #timer: Timer | undefined = undefined;
  /** Streams that failed in a row, and when the next may be opened. */
  #failures = 0;
  #openMs = 0;

  constructor(calls: Calls) {
    this.#calls = calls;
  }

  /** A granted lease. Its time began when it was asked for. */
  hold(id: number, ttlMs: number, askedMs: number, keepAlive: boolean, revoke: Revoke): KvLease {
    const controller = new AbortController();
    const held: Held = {
      id,
      ttlMs,
      controller,
      renewMs: keepAlive ? askedMs + ttlMs / renewPart : Infinity,
      lostMs: askedMs + ttlMs,
      askedMs: undefined,
    };
    this.#held.set(id, held);
    this.#arm();
    const release = (): void => {
      if (this.#held.get(id) === held) this.#held.delete(id);
      this.#arm();
    };
    const end = async (options?: KvCallOptions): Promise<void> => {
      release();
      if (controller.signal.aborted) return;
      controller.abort(new CoveyError(Code.canceled, "the lease was given back"));
      try {
        await revoke(id, options);
      } catch (error) {
        // It had ended already, which is what was asked for.
        if (CoveyError.from(error).code !== Code.notFound) throw error;
      }
    };
    return {
      id,
      ttlMs,
      signal: controller.signal,
      release,
      revoke: end,
      [Symbol.asyncDispose]: () => end(),
    };
  }

  /** Renews no more; the leases end by themselves. */
  close(): void {
    this.#held.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#leave();
  }

  #nowMs(): number {
    return this.#calls.clock.monotonicMs();
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#held.size === 0) {
      this.#leave();
      return;
    }
    let nextMs = Infinity;
    for (const { renewMs, lostMs, askedMs, ttlMs } of this.#held.values()) {
      const dueMs = askedMs === undefined
        ? Math.max(renewMs, this.#openMs)
        : askedMs + ttlMs / silencePart;
      nextMs = Math.min(nextMs, lostMs, dueMs);
    }
    const delayMs = Math.max(tickMsLeast, nextMs - this.#nowMs());
    this.#timer = this.#calls.clock.timer(delayMs, tick, this);
  }

  /** Public only for the timer. */
  tick(): void {
    this.#timer = undefined;
    const nowMs = this.#nowMs();
    let silent = false;
    for (const held of [...this.#held.values()]) {
      if (held.lostMs <= nowMs) {
        const message = held.renewMs === Infinity
          ? "the lease's time is over"
          : "the lease was not renewed in its time: no node could be reached";
        this.#lost(held, new CoveyError(Code.unavailable, message));
      } else if (held.askedMs !== undefined) {
        silent ||= nowMs >= held.askedMs + held.ttlMs / silencePart;
      }
    }
    if (silent) this.#failed(this.#calls.endpoint);
    if (nowMs >= this.#openMs) {
      for (const held of this.#held.values()) {
        if (held.askedMs === undefined && held.renewMs <= nowMs) this.#ask(held);
      }
    }
    this.#arm();
  }

  #ask(held: Held): void {
    if (this.#requests === undefined) this.#open();
    held.askedMs = this.#nowMs();
    this.#requests?.push({ id: BigInt(held.id) });
  }

  #open(): void {
    const requests = this.#requests = new Requests<KeepAliveInit>();
    const stream = this.#stream = new AbortController();
    void this.#receive(requests, stream);
  }

  async #receive(requests: Requests<KeepAliveInit>, stream: AbortController): Promise<void> {
    const { endpoint } = this.#calls;
    try {
      const responses = endpoint.lease.leaseKeepAlive(requests, { signal: stream.signal });
      for await (const { id, ttl } of responses) {
        if (this.#requests !== requests) return;
        this.#failures = 0;
        this.#answered(Number(id), Number(ttl) * 1000);
      }
      throw new CoveyError(Code.unavailable, "the node ended the renewals");
    } catch (error) {
      if (this.#requests !== requests) return;
      this.#failed(endpoint, error);
      this.#arm();
    }
  }

  #answered(id: number, ttlMs: number): void {
    const held = this.#held.get(id);
    if (held === undefined) return;
    const askedMs = held.askedMs ?? this.#nowMs();
    held.askedMs = undefined;
    if (ttlMs <= 0) {
      this.#lost(held, new CoveyError(Code.notFound, "the lease was revoked or has expired"));
    } else {
      held.renewMs = askedMs + ttlMs / renewPart;
      held.lostMs = askedMs + ttlMs;
    }
    // The timer comes too early now, and finds the next time then.
  }

  /** The stream is of no use any more; the next one waits a little. */
  #failed(endpoint: KvEndpoint, error?: unknown): void {
    this.#calls.leave(endpoint, error);
    this.#leave();
    for (const held of this.#held.values()) held.askedMs = undefined;
    this.#openMs = this.#nowMs() + this.#calls.pauseMs(++this.#failures);
  }

  #leave(): void {
    this.#requests?.end();
    this.#requests = undefined;
    this.#stream?.abort();
    this.#stream = undefined;
  }

  #lost(held: Held, error: CoveyError): void {
    this.#held.delete(held.id);
    held.controller.abort(error);
  }
}

type Revoke = (id: number, options?: KvCallOptions) => Promise<unknown>;

function tick(leases: Leases): void {
  leases.tick();
}
