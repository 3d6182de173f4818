/** Whoever follows a group: observers of its machine, and those who wait for something once. */
import type { CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Clock, Subscription } from "../runtime/port.ts";
import type { Entry, LogIndex } from "./core/types.ts";
import type { GroupObserver, LeaderHint } from "./group_types.ts";

export class GroupEvents<Result> {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #observers = new Set<GroupObserver<Result>>();
  #leaderWaiters = new Set<() => void>();
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

  /** There is a leader, or there will be none here: whoever waits looks again. */
  leaderIsKnown(): void {
    const waiters = this.#leaderWaiters;
    this.#leaderWaiters = new Set();
    for (const wake of waiters) wake();
  }

  /** Those who wait for a change of the leader. */
  get waiting(): number {
    return this.#leaderWaiters.size;
  }

  /** Resolves at the next change of the leader, when the time is over, or when the signal fires. */
  leaderChanged(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        signal?.removeEventListener("abort", wake);
        this.#leaderWaiters.delete(wake);
        resolve();
      };
      const timer = this.#clock.timer(timeoutMs, wake, undefined);
      signal?.addEventListener("abort", wake);
      this.#leaderWaiters.add(wake);
    });
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
    this.leaderIsKnown();
    for (const fail of [...this.#ends]) fail(error);
  }
}
