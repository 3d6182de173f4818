/**
 * Writes that are applied once however often they are sent. The store keeps the result of each
 * numbered command until the session says that it has arrived; a number whose caller has given up
 * counts as arrived too, so that what is still on its way is not applied later.
 */
import { Code, CoveyError } from "../base/error.ts";
import { type Calls, canceledBy } from "./client_calls.ts";
import type { CallOptions } from "../ttrpc/service.ts";
import { didNothing, refusalOf } from "./client_error.ts";
import type { KvCallOptions } from "./client_types.ts";
import type { KvEndpoint } from "./client_endpoint.ts";

/** As the wire has it. */
export interface SessionInit {
  readonly id: bigint;
  readonly sequence: bigint;
  readonly acknowledged: bigint;
}

/** Commands between the oldest without a result and the newest: well within the store's limit. */
const windowMax = 192;
/** How often a command that certainly was not applied moves on to a new session. */
const sessionsPerCommand = 12;

/** The numbers of one session. */
class Session {
  readonly id: bigint;
  readonly window: number;
  #next = 1;
  #acknowledged = 0;
  readonly #done = new Set<number>();

  constructor(id: bigint, window: number) {
    this.id = id;
    this.window = window;
  }

  get hasRoom(): boolean {
    return this.#next - this.#acknowledged <= this.window;
  }

  take(): number {
    return this.#next++;
  }

  header(sequence: number): SessionInit {
    return {
      id: this.id,
      sequence: BigInt(sequence),
      acknowledged: BigInt(this.#acknowledged),
    };
  }

  /** The result has arrived, or nobody waits for it any more. */
  done(sequence: number): void {
    this.#done.add(sequence);
    while (this.#done.delete(this.#acknowledged + 1)) this.#acknowledged++;
  }
}

/** A command's number. */
interface Numbered {
  readonly session: Session;
  readonly sequence: number;
}

interface Waiting {
  readonly untilMs: number;
  readonly resolve: (numbered: Numbered) => void;
  readonly reject: (error: CoveyError) => void;
}

type Send<T> = (
  endpoint: KvEndpoint,
  options: CallOptions,
  session: SessionInit | undefined,
) => Promise<T>;

export class Sessions {
  readonly #calls: Calls;
  readonly #enabled: boolean;
  #session: Session | undefined = undefined;
  #opening = false;
  #window = windowMax;
  /** Commands that wait for a number, in their order. */
  #waiting: Waiting[] = [];

  constructor(calls: Calls, enabled: boolean) {
    this.#calls = calls;
    this.#enabled = enabled;
  }

  /** Sends a write, again and again where that is needed. */
  write<T>(options: KvCallOptions, send: Send<T>): Promise<T> {
    if (this.#enabled) {
      return this.#waiting.length < this.#calls.callsMax
        ? this.#numbered(options, send)
        : Promise.reject(this.#calls.tooMany());
    }
    return this.#calls.run(
      options,
      { repeat: "undone" },
      (endpoint, own) => send(endpoint, own, undefined),
    );
  }

  /** Forgets the session at the store, if that is quick. */
  async close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#calls.closing.reason);
    if (session === undefined) return;
    const { endpoint } = this.#calls;
    try {
      await endpoint.kv.closeSession({ id: session.id }, { timeoutMs: closeMs });
    } catch (error) {
      // The store forgets what is not used: nothing is lost but a little memory for a while.
      if (!(error instanceof CoveyError)) throw error;
    }
  }

  async #numbered<T>(options: KvCallOptions, send: Send<T>): Promise<T> {
    const untilMs = this.#calls.clock.monotonicMs() + (options.timeoutMs ?? this.#calls.timeoutMs);
    const left = (): KvCallOptions => ({
      signal: options.signal,
      timeoutMs: untilMs - this.#calls.clock.monotonicMs(),
    });
    for (let tries = 1;; tries++) {
      const taken = this.#take(untilMs);
      const { session, sequence } = taken instanceof Promise
        ? await this.#wait(taken, left())
        : taken;
      let mayBeDone = false;
      try {
        return await this.#calls.run(
          left(),
          { repeat: "always" },
          async (endpoint, own) => {
            try {
              return await send(endpoint, own, session.header(sequence));
            } catch (error) {
              if (!this.#isGone(session, error)) mayBeDone ||= !isUndone(error);
              throw error;
            }
          },
        );
      } catch (error) {
        if (!this.#isGone(session, error) || mayBeDone || tries === sessionsPerCommand) throw error;
      } finally {
        this.#done({ session, sequence });
      }
    }
  }

  /** The next number, at once or in turn. */
  #take(untilMs: number): Numbered | Promise<Numbered> {
    const session = this.#session;
    if (session !== undefined && session.hasRoom && this.#waiting.length === 0) {
      return { session, sequence: session.take() };
    }
    const promise = new Promise<Numbered>((resolve, reject) => {
      this.#waiting.push({ untilMs, resolve, reject });
    });
    this.#serve();
    return promise;
  }

  /** Gives numbers to those that wait. */
  #serve(): void {
    const session = this.#session;
    if (session === undefined) {
      const [first] = this.#waiting;
      if (first !== undefined && !this.#opening) void this.#open(first);
      return;
    }
    while (session.hasRoom) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) return;
      waiting.resolve({ session, sequence: session.take() });
    }
  }

  /** One opens for all that wait; what goes wrong is told to that one. */
  async #open(first: Waiting): Promise<void> {
    this.#opening = true;
    try {
      const { id } = await this.#calls.run(
        { timeoutMs: first.untilMs - this.#calls.clock.monotonicMs() },
        { repeat: "always" },
        (endpoint, own) => endpoint.kv.openSession({}, own),
      );
      this.#session = new Session(id, this.#window);
    } catch (error) {
      const at = this.#waiting.indexOf(first);
      if (at >= 0) this.#waiting.splice(at, 1);
      first.reject(CoveyError.from(error));
    }
    this.#opening = false;
    this.#serve();
  }

  /** Waits no longer than the caller does. A number that comes too late is given back. */
  #wait(promise: Promise<Numbered>, options: KvCallOptions): Promise<Numbered> {
    const { signal, timeoutMs = Infinity } = options;
    return new Promise((resolve, reject) => {
      let over = false;
      const settle = (end: () => void): void => {
        over = true;
        timer?.cancel();
        signal?.removeEventListener("abort", abort);
        end();
      };
      const abort = (): void => settle(() => reject(canceledBy(signal!)));
      const late = (): void => {
        const message = "the deadline passed before the command had a number of its session";
        settle(() => reject(new CoveyError(Code.deadlineExceeded, message, { sent: false })));
      };
      const timer = timeoutMs === Infinity
        ? undefined
        : this.#calls.clock.timer(Math.max(0, timeoutMs), late, undefined);
      signal?.addEventListener("abort", abort);
      if (signal?.aborted) abort();
      promise.then((numbered) => {
        if (over) this.#done(numbered);
        else settle(() => resolve(numbered));
      }, (error) => {
        if (!over) settle(() => reject(error));
      });
    });
  }

  #done({ session, sequence }: Numbered): void {
    session.done(sequence);
    this.#serve();
  }

  /**
   * Nothing new goes to this session. One that is full may stay so: results that came out of order
   * wait for an earlier command, which waits for room.
   */
  #isGone(session: Session, error: unknown): boolean {
    const reason = refusalOf(error);
    if (reason !== "session_expired" && reason !== "session_unknown" && reason !== "session_full") {
      return false;
    }
    if (reason === "session_full") this.#window = Math.max(1, session.window >> 1);
    if (this.#session === session) this.#session = undefined;
    return true;
  }
}

/** How long saying goodbye may take. */
const closeMs = 1_000;

function isUndone(error: unknown): boolean {
  return error instanceof CoveyError && didNothing(error);
}
