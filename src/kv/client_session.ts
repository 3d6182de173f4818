/**
 * Writes that are applied once however often they are sent. The store keeps the result of each
 * numbered command until the session says that it has arrived; a number whose caller has given up
 * counts as arrived too, so that what is still on its way is not applied later.
 *
 * The first command opens the session itself, under a number drawn at random, so that it costs no
 * more than one entry. The store does not remember such numbers for ever: commands go by the
 * session's id as soon as there is a second one to ask for it, and none is repeated for long before.
 */
import { Code, CoveyError } from "../base/error.ts";
import { type Calls, canceledBy } from "./client_calls.ts";
import type { CallOptions } from "../ttrpc/service.ts";
import { didNothing, refusalOf } from "./client_error.ts";
import type { KvCallOptions } from "./client_types.ts";
import type { KvEndpoint } from "./client_endpoint.ts";
import { openingBytes } from "./core/command.ts";
import { openingRetryMs } from "./core/sessions.ts";

/** As the wire has it. */
export interface SessionInit {
  readonly id: bigint;
  readonly sequence: bigint;
  readonly acknowledged: bigint;
  readonly opening?: Uint8Array;
  readonly single?: boolean;
}

/** One session for all writes, one for each write, or none. */
export type SessionUse = boolean | "single";

/** Commands between the oldest without a result and the newest: well within the store's limit. */
const windowMax = 192;
/** How often a command that certainly was not applied moves on to a new session. */
const sessionsPerCommand = 12;

/** The numbers of one session. */
class Session {
  readonly window: number;
  readonly opening: Uint8Array;
  readonly single: boolean;
  /** 0 as long as it is not known. */
  id = 0n;
  isAsked = false;
  #next = 1;
  #acknowledged = 0;
  readonly #done = new Set<number>();

  constructor(opening: Uint8Array, options: { readonly window: number; readonly single: boolean }) {
    this.opening = opening;
    this.window = options.window;
    this.single = options.single;
  }

  get isUsed(): boolean {
    return this.#next > 1;
  }

  get hasRoom(): boolean {
    return this.#next - this.#acknowledged <= this.window;
  }

  take(): number {
    return this.#next++;
  }

  header(sequence: number): SessionInit {
    const { id, opening, single } = this;
    const acknowledged = BigInt(this.#acknowledged);
    if (id !== 0n) return { id, sequence: BigInt(sequence), acknowledged };
    return { id, sequence: BigInt(sequence), acknowledged, opening, single };
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
  readonly #use: SessionUse;
  #session: Session | undefined = undefined;
  #window = windowMax;
  /** Commands that wait for a number, in their order. */
  #waiting: Waiting[] = [];

  constructor(calls: Calls, use: SessionUse) {
    this.#calls = calls;
    this.#use = use;
  }

  /** Sends a write, again and again where that is needed. */
  write<T>(options: KvCallOptions, send: Send<T>): Promise<T> {
    if (this.#use !== false) {
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
    if (session === undefined || !session.isUsed) return;
    const { endpoint } = this.#calls;
    const { id, opening } = session;
    const named = id === 0n ? { opening } : { id };
    try {
      await endpoint.kv.closeSession(named, { timeoutMs: closeMs });
    } catch (error) {
      // The store forgets what is not used: nothing is lost but a little memory for a while.
      if (!(error instanceof CoveyError)) throw error;
    }
  }

  async #numbered<T>(options: KvCallOptions, send: Send<T>): Promise<T> {
    const { clock } = this.#calls;
    const startedMs = clock.monotonicMs();
    const { signal, timeoutMs = this.#calls.timeoutMs } = options;
    const timed = { signal, timeoutMs, untilMs: this.#calls.endOf(timeoutMs) };
    for (let tries = 1;; tries++) {
      const taken = this.#take();
      const { session, sequence } = taken instanceof Promise
        ? await this.#wait(taken, timed)
        : taken;
      let mayBeDone = false;
      try {
        return await this.#calls.run(
          timed,
          { repeat: "always" },
          async (endpoint, own) => {
            try {
              const header = session.header(sequence);
              if (header.id !== 0n || !mayBeDone) return await send(endpoint, own, header);
              const leftMs = startedMs + openingRetryMs - clock.monotonicMs();
              if (leftMs <= 0) throw forgotten();
              const tryMs = Math.min(leftMs, own.timeoutMs ?? Infinity);
              return await send(endpoint, { ...own, timeoutMs: tryMs }, header);
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
  #take(): Numbered | Promise<Numbered> {
    if (this.#use === "single") {
      const session = this.#draw();
      return { session, sequence: session.take() };
    }
    const session = this.#session ??= this.#draw();
    if (session.hasRoom && this.#waiting.length === 0) return this.#number(session);
    return new Promise<Numbered>((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#serve();
    });
  }

  #draw(): Session {
    const single = this.#use === "single";
    return new Session(this.#calls.randomBytes(openingBytes), { window: this.#window, single });
  }

  #number(session: Session): Numbered {
    if (session.isUsed && !session.isAsked) void this.#askId(session);
    return { session, sequence: session.take() };
  }

  /** Gives numbers to those that wait. */
  #serve(): void {
    while (this.#waiting.length > 0) {
      const session = this.#session ??= this.#draw();
      if (!session.hasRoom) return;
      this.#waiting.shift()?.resolve(this.#number(session));
    }
  }

  /** Nobody waits for it: without it commands go on under the opening's name. */
  async #askId(session: Session): Promise<void> {
    session.isAsked = true;
    const { opening } = session;
    try {
      const { id } = await this.#calls.run(
        {},
        { repeat: "always" },
        (endpoint, own) => endpoint.kv.openSession({ opening }, own),
      );
      session.id = id;
    } catch (error) {
      if (!(error instanceof CoveyError)) throw error;
      // The next command asks again.
      session.isAsked = false;
    }
  }

  /** Waits no longer than the caller does. A number that comes too late is given back. */
  #wait(
    promise: Promise<Numbered>,
    { signal, untilMs }: { readonly signal: AbortSignal | undefined; readonly untilMs: number },
  ): Promise<Numbered> {
    const { clock } = this.#calls;
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
      const timer = untilMs === Infinity
        ? undefined
        : clock.timer(Math.max(0, untilMs - clock.monotonicMs()), late, undefined);
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

function forgotten(): CoveyError {
  return new CoveyError(
    Code.aborted,
    "it is unknown whether the command was applied: the first command of a session can be repeated " +
      `for ${openingRetryMs / 1000} s only; read what it was to change`,
    { sent: true },
  );
}

/** How long saying goodbye may take. */
const closeMs = 1_000;

function isUndone(error: unknown): boolean {
  return error instanceof CoveyError && didNothing(error);
}
