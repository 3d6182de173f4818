/** What both engines' name look-ups share: the bound, the time limit and the caller's signal. */
import { isHostName, lookupsMax, type NameKind, type NameRecords } from "../base/name_lookup.ts";
import { type Clock, NetError, type ResolveOptions } from "./port.ts";

/** A look-up that the engine has begun. */
export interface Pending<T> {
  readonly answer: Promise<T>;
  /** Ends it early, where the engine can; `answer` still settles. */
  cancel(): void;
}

/** How an engine asks. What it throws, and what it rejects with, becomes a NetError. */
export type Ask = <K extends NameKind>(options: ResolveOptions<K>) => Pending<NameRecords[K]>;

/** What was tried, for messages: "look up SRV of _covey._tcp.example". */
export function lookupName({ name, kind, server }: ResolveOptions<NameKind>): string {
  const at = server === undefined ? "" : ` at ${server.host}:${server.port}`;
  return `look up ${kind} of ${name}${at}`;
}

/** The look-ups of one runtime. */
export class Lookups {
  readonly #clock: Clock;
  readonly #ask: Ask;
  readonly #toError: (error: unknown, options: ResolveOptions<NameKind>) => NetError;
  /** Those that the engine has not ended, whatever became of their callers. */
  #inFlight = 0;

  constructor(
    clock: Clock,
    ask: Ask,
    toError: (error: unknown, options: ResolveOptions<NameKind>) => NetError,
  ) {
    this.#clock = clock;
    this.#ask = ask;
    this.#toError = toError;
  }

  /** Looks up; see the port. */
  resolve<K extends NameKind>(options: ResolveOptions<K>): Promise<NameRecords[K]> {
    const doing = lookupName(options);
    const { name, signal } = options;
    if (!isHostName(name)) {
      return Promise.reject(new NetError("invalid", `${doing}: this is no host name`));
    }
    if (signal?.aborted === true) {
      return Promise.reject(new NetError("aborted", `${doing}: aborted`, signal.reason));
    }
    if (this.#inFlight >= lookupsMax) {
      const error = new NetError("limit", `${doing}: ${lookupsMax} look-ups are in flight already`);
      return Promise.reject(error);
    }
    let pending: Pending<NameRecords[K]>;
    try {
      pending = this.#ask(options);
    } catch (error) {
      return Promise.reject(this.#toError(error, options));
    }
    this.#inFlight++;
    const ended = (): void => void this.#inFlight--;
    pending.answer.then(ended, ended);
    return this.#limited(options, pending);
  }

  #limited<K extends NameKind>(
    options: ResolveOptions<K>,
    pending: Pending<NameRecords[K]>,
  ): Promise<NameRecords[K]> {
    const doing = lookupName(options);
    const { signal, timeoutMs } = options;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        timer.cancel();
        signal?.removeEventListener("abort", abort);
      };
      const giveUp = (error: NetError): void => {
        settle();
        // Rejected before the engine ends, whose own error for this does not matter then.
        reject(error);
        pending.cancel();
      };
      const abort = (): void =>
        giveUp(new NetError("aborted", `${doing}: aborted`, signal?.reason));
      const timer = this.#clock.timer(
        timeoutMs,
        () => giveUp(new NetError("timeout", `${doing}: no answer in ${timeoutMs} ms`)),
        undefined,
      );
      signal?.addEventListener("abort", abort);
      pending.answer.then(
        (records) => {
          settle();
          if (records.length > 0) return resolve(records);
          reject(new NetError("not-found", `${doing}: no such records`));
        },
        (error: unknown) => {
          settle();
          reject(this.#toError(error, options));
        },
      );
    });
  }
}
