/** Whoever follows a group: observers of its machine, and those who wait for something once. */
import type { CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Clock, Subscription } from "../runtime/port.ts";
import type { Entry, LogIndex } from "./core/types.ts";
import type { GroupObserver, LeaderHint } from "./group_types.ts";

/** Until it is so. */
interface Wait {
  readonly isSo: () => boolean;
  readonly end: () => void;
}

export class GroupEvents<Result> {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #observers = new Set<GroupObserver<Result>>();
  /** Those who wait for something to be so. */
  readonly #waits = new Set<Wait>();
  /** How often there was a leader anew. */
  #leaders = 0;
  #isClosed = false;
  /** Of those who wait for entries. */
  readonly #ends = new Set<(error: CoveyError) => void>();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  observe(observer: GroupObserver<Result>): Subscription {
    this.#observers.add(observer);
    return { cancel: () => this.#observers.delete(observer) };
  }

  applied(entry: Entry, data: Uint8Array, result: Result): void {
    if (this.#observers.size === 0) return;
    const applied = { index: entry.index, term: entry.term, data };
    this.#tell((observer) => observer.applied?.(applied, result));
  }

  progressed(index: LogIndex): void {
    this.#tell((observer) => observer.progressed?.(index));
  }

  restoring(): void {
    this.#tell((observer) => observer.restoring?.());
  }

  restored(): void {
    this.#tell((observer) => observer.restored?.());
  }

  led(leading: boolean): void {
    this.#tell((observer) => observer.led?.(leading));
  }

  leader(leader: LeaderHint | undefined): void {
    this.#tell((observer) => observer.leader?.(leader));
    if (leader !== undefined) this.#leaders++;
  }

  hindered(): void {
    this.#tell((observer) => observer.hindered?.());
  }

  stopped(error: CoveyError): void {
    this.#tell((observer) => observer.stopped?.(error));
  }

  /** What an observer does wrong is its own trouble, and worth a line. */
  #tell(callback: (observer: GroupObserver<Result>) => void): void {
    for (const observer of this.#observers) {
      try {
        callback(observer);
      } catch (cause) {
        this.#logger.error("an observer of a group failed", { cause });
      }
    }
  }

  /** Something happened: whoever waits looks whether it is so now. After every turn and tick. */
  changed(): void {
    for (const { isSo, end } of this.#waits) if (isSo()) end();
  }

  /** Those who wait for something to be so. */
  get waiting(): number {
    return this.#waits.size;
  }

  /**
   * Resolves as soon as it is so, at the group's end, when the time is over (Infinity: never), or
   * when the signal fires: which of these it was is for the caller to see.
   */
  when(isSo: () => boolean, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const isOver = this.#isClosed || signal?.aborted === true || timeoutMs <= 0;
    if (isOver || isSo()) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        timer?.cancel();
        signal?.removeEventListener("abort", end);
        this.#waits.delete(wait);
        resolve();
      };
      const wait = { isSo, end };
      const timer = timeoutMs === Infinity
        ? undefined
        : this.#clock.timer(timeoutMs, end, undefined);
      signal?.addEventListener("abort", end);
      this.#waits.add(wait);
    });
  }

  /** Resolves when there is a leader anew, and when {@link when} does. */
  leaderChanged(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    const before = this.#leaders;
    return this.when(() => this.#leaders !== before, timeoutMs, signal);
  }

  /**
   * Resolves once the entry at `index` is applied, the machine is restored from a snapshot, or the
   * signal fires; rejects at the group's end.
   */
  advanced(index: LogIndex, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        subscription.cancel();
        signal.removeEventListener("abort", end);
        this.#ends.delete(fail);
      };
      const end = (): void => {
        leave();
        resolve();
      };
      const fail = (error: CoveyError): void => {
        leave();
        reject(error);
      };
      const subscription = this.observe({
        progressed: (applied) => applied >= index ? end() : undefined,
        restored: end,
      });
      this.#ends.add(fail);
      signal.addEventListener("abort", end);
    });
  }

  /** The group ends, or the node: nobody is to wait any more. */
  close(error: CoveyError): void {
    this.#isClosed = true;
    for (const { end } of [...this.#waits]) end();
    for (const fail of [...this.#ends]) fail(error);
  }
}
