/**
 * Virtual time and the event loop. One event at a time: its callback, then one real turn so that
 * all promise chains that it started have ended, then the next event, to whose time the clock
 * jumps. Nothing here waits in real time, and nothing depends on how long anything takes.
 */
import { assert } from "../../base/assert.ts";
import { ExitSignal, SimulationError } from "./error.ts";
import { type EventCallback, EventQueue, type Executor, type SimEvent } from "./event_queue.ts";
import { msFromTicks, ticksFromMs } from "./time.ts";
import { turn } from "./turn.ts";

export interface RunOptions {
  /**
   * Runs to this virtual time. Together with `until` it is a limit: reaching it first fails the
   * run.
   */
  readonly untilMs?: number;
  /** Runs for this long; like `untilMs`, counted from now. */
  readonly forMs?: number;
  /**
   * Runs until this is true, asked after every event, or until this promise, or the one that this
   * function answers, settles.
   */
  readonly until?: (() => boolean | PromiseLike<unknown>) | PromiseLike<unknown>;
  /** Events of this run before it fails; default ten million. */
  readonly eventsMax?: number;
}

export interface RunReport {
  readonly nowMs: number;
  /** Events of this run. */
  readonly events: number;
}

const eventsMaxDefault = 10_000_000;
/** Turns granted on an empty queue, for whatever an engine does outside of microtasks. */
const idleTurnsMax = 64;

export class Kernel {
  /** Ticks since the start. */
  now = 0;
  /** Events that ran, in all. */
  events = 0;
  readonly queue = new EventQueue();
  #running = false;
  #failure: SimulationError | undefined;
  readonly #report: () => string;

  /** `report` describes what everybody waits for, for the message of a deadlock. */
  constructor(report: () => string) {
    this.#report = report;
  }

  get running(): boolean {
    return this.#running;
  }

  /** An event at a time; `executor` null means that it runs whatever state processes are in. */
  at<A>(ticks: number, run: EventCallback<A>, argument: A, executor: Executor | null): SimEvent {
    return this.queue.add(Math.max(ticks, this.now), run, argument, executor);
  }

  /** An event now, after those that are already due. */
  post<A>(run: EventCallback<A>, argument: A, executor: Executor | null): SimEvent {
    return this.queue.add(this.now, run, argument, executor);
  }

  cancel(event: SimEvent): void {
    if (event.index >= 0) this.queue.remove(event);
    // It may wait in a paused process's list, or be the one that runs now.
    else event.run = ranBefore;
  }

  /**
   * What a paused process missed becomes due now, in the old order. The events stay the same ones:
   * whoever holds a timer may cancel it until it runs.
   */
  release(executor: Executor): void {
    for (const event of executor.held) {
      if (event.run !== ranBefore) this.queue.again(event, this.now);
    }
    executor.held.length = 0;
  }

  /** Ends the present or next run with this. The first failure counts. */
  fail(error: SimulationError): void {
    this.#failure ??= error;
  }

  run(options: RunOptions): Promise<RunReport> {
    assert(!this.#running, "a simulation runs one `run` at a time");
    const started = this.events;
    const eventsMax = options.eventsMax ?? eventsMaxDefault;
    const limit = this.#limit(options);
    const awaited = watch(options.until);
    let idleTurns = 0;
    this.#running = true;
    return new Promise<RunReport>((resolve, reject) => {
      const finish = (error?: unknown): void => {
        this.#running = false;
        if (error !== undefined) reject(error);
        else resolve({ nowMs: msFromTicks(this.now), events: this.events - started });
      };
      const step = (): void => {
        try {
          for (;;) {
            if (this.#failure !== undefined) {
              const failure = this.#failure;
              this.#failure = undefined;
              return finish(failure);
            }
            if (awaited?.rejected !== undefined) return finish(awaited.rejected.reason);
            if (awaited?.done()) return finish();
            const next = this.queue.peek();
            if (next === undefined && idleTurns < idleTurnsMax && awaited !== undefined) {
              idleTurns++;
              return turn(step);
            }
            if (next === undefined || next.at > limit) return finish(this.#end(limit, awaited));
            if (this.events - started >= eventsMax) {
              return finish(this.#error("limit", `${eventsMax} events ran without an end`));
            }
            idleTurns = 0;
            if (this.#dispatch()) return turn(step);
          }
        } catch (error) {
          finish(error);
        }
      };
      // What the caller began before `run` comes first.
      turn(step);
    });
  }

  #limit(options: RunOptions): number {
    let limit = Infinity;
    if (options.untilMs !== undefined) limit = ticksFromMs(options.untilMs);
    if (options.forMs !== undefined) limit = Math.min(limit, this.now + ticksFromMs(options.forMs));
    return limit;
  }

  /** No event is left before the limit: either that was the goal, or the run failed. */
  #end(limit: number, awaited: Awaited | undefined): SimulationError | undefined {
    if (awaited !== undefined && this.queue.length === 0) {
      return this.#error("deadlock", "nothing is scheduled and what was awaited has not come");
    }
    if (limit !== Infinity) this.now = Math.max(this.now, limit);
    if (awaited === undefined) return undefined;
    return this.#error("timeout", "the time is over and what was awaited has not come");
  }

  /** Runs the first event; says whether promises need a turn. */
  #dispatch(): boolean {
    const event = this.queue.pop()!;
    assert(event.at >= this.now, "time never goes back");
    this.now = event.at;
    const executor = event.executor;
    if (executor !== null) {
      if (executor.dead) return false;
      if (executor.paused) {
        executor.held.push(event);
        return false;
      }
    }
    this.events++;
    const run = event.run;
    event.run = ranBefore;
    try {
      return run(event.argument as never);
    } catch (error) {
      if (!(error instanceof ExitSignal)) {
        this.fail(this.#error("callback", `a callback threw: ${String(error)}`, error));
      }
      return true;
    }
  }

  #error(kind: SimulationError["kind"], what: string, cause?: unknown): SimulationError {
    return new SimulationError(kind, `${what}\n${this.#report()}`, cause);
  }
}

/** What an event becomes once it ran or was cancelled. */
function ranBefore(): boolean {
  return false;
}

interface Awaited {
  done(): boolean;
  rejected: { readonly reason: unknown } | undefined;
}

function watch(until: RunOptions["until"]): Awaited | undefined {
  if (until === undefined) return undefined;
  let promise = until;
  if (typeof promise === "function") {
    const first = promise();
    // Asked again and again, the condition answers what it answered first: a boolean.
    if (typeof first === "boolean") return { done: promise as () => boolean, rejected: undefined };
    promise = first;
  }
  let settled = false;
  const awaited: Awaited = { done: () => settled, rejected: undefined };
  promise.then(() => {
    settled = true;
  }, (reason: unknown) => {
    awaited.rejected = { reason };
  });
  return awaited;
}
