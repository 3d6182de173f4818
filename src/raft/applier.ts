/**
 * Hands committed entries to a group's machine, in slices of some milliseconds so that nothing else
 * waits for it, and lets a snapshot of the machine begin or a restore take place between two entries.
 */
import { assert } from "../base/assert.ts";
import { CoveyError } from "../base/error.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import { type Entry, EntryType, type LogIndex } from "./core/types.ts";
import type { Machine } from "../base/machine.ts";
import { decodeEntryData, type DriverCommand, machineDataOf } from "./members.ts";

/** The thread is given back after so long. */
const sliceMs = 5;
/** The clock is looked at after so many entries. */
const entriesPerLook = 32;

export interface ApplierOwner<Result> {
  /** A machine's entry was applied; the next one is not yet. */
  applied(entry: Entry, data: Uint8Array, result: Result): void;
  /** A configuration change is next: it takes effect now. */
  configured(entry: Entry): void;
  commanded(command: DriverCommand): void;
  /** The slice is over: everything up to this index was applied. */
  progressed(index: LogIndex): void;
  /** This build cannot apply an entry; nothing is applied any more. */
  stuck(entry: Entry, why: string): void;
}

export class Applier<Result> {
  readonly #machine: Machine<Result>;
  readonly #clock: Clock;
  readonly #owner: ApplierOwner<Result>;
  #queue: readonly Entry[][] = [];
  #at = 0;
  #index: LogIndex;
  /** The entry that the machine has not finished. */
  #unfinished: { readonly entry: Entry; readonly data: Uint8Array } | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #held = false;
  #stopped = false;

  constructor(
    machine: Machine<Result>,
    clock: Clock,
    index: LogIndex,
    owner: ApplierOwner<Result>,
  ) {
    this.#machine = machine;
    this.#clock = clock;
    this.#index = index;
    this.#owner = owner;
  }

  /** Everything up to here was applied. */
  get index(): LogIndex {
    return this.#index;
  }

  /** Whether a snapshot may begin. */
  get isBetweenEntries(): boolean {
    return this.#unfinished === undefined && !this.#held;
  }

  add(entries: readonly Entry[]): void {
    this.#queue = [...this.#queue, [...entries]];
  }

  /** Applies until nothing is left or the slice is over; then a timer goes on. */
  run(): void {
    if (this.#timer !== undefined || this.#held || this.#stopped) return;
    const before = this.#index;
    const untilMs = this.#clock.monotonicMs() + sliceMs;
    let looks = 0;
    while (this.#queue.length > 0 || this.#unfinished !== undefined) {
      const large = this.#step();
      if (this.#stopped) break;
      if (large || ++looks === entriesPerLook) {
        looks = 0;
        if (this.#clock.monotonicMs() >= untilMs || large) {
          this.#timer = this.#clock.timer(0, resumeApplier, this as Applier<unknown>);
          break;
        }
      }
    }
    if (this.#index !== before) this.#owner.progressed(this.#index);
  }

  /** The timer's work; public only for the timer. */
  continue(): void {
    this.#timer = undefined;
    this.run();
  }

  /** Nothing is applied until {@link release}: the machine is being restored. What waits is void. */
  hold(): void {
    this.#held = true;
    this.#queue = [];
    this.#at = 0;
    this.#unfinished = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  release(index: LogIndex): void {
    assert(this.#held, "only a held machine is released");
    this.#held = false;
    this.#index = index;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** One entry, or a slice of a large one; true when that is not finished. */
  #step(): boolean {
    if (this.#unfinished !== undefined) {
      return this.#apply(this.#unfinished.entry, this.#unfinished.data);
    }
    const entry = this.#take();
    if (entry.type === EntryType.configuration) {
      if (this.#advance(entry)) this.#owner.configured(entry);
      return false;
    }
    const data = machineDataOf(entry.data);
    if (data !== undefined) return this.#apply(entry, data);
    const decoded = decodeEntryData(entry.data);
    if (decoded.kind !== "driver" || decoded.command.kind === "unknown") {
      this.#stick(entry, "a newer version of covey wrote it: update this node");
    } else if (this.#advance(entry)) this.#owner.commanded(decoded.command);
    return false;
  }

  /** The machine's index keeps up with entries that are not its own; false when it is stuck. */
  #advance(entry: Entry): boolean {
    const isLarge = this.#apply(entry, noData);
    assert(!isLarge, "an entry without data is applied at once");
    return !this.#stopped;
  }

  /**
   * True when the machine has not finished with the entry. One that throws is stuck. This runs for
   * each entry on each node: most are given to the machine as they are.
   */
  #apply(entry: Entry, data: Uint8Array): boolean {
    let result: Result | undefined;
    let isFatal: boolean;
    try {
      if (this.#unfinished !== undefined) result = this.#machine.resume();
      else if (data === entry.data) result = this.#machine.apply(entry);
      else result = this.#machine.apply({ index: entry.index, term: entry.term, data });
      isFatal = result !== undefined && this.#machine.isFatal(result);
    } catch (error) {
      this.#stick(entry, `its machine failed: ${CoveyError.from(error).rawMessage}`);
      return false;
    }
    if (result === undefined) {
      this.#unfinished ??= { entry, data };
      return true;
    }
    this.#unfinished = undefined;
    if (isFatal) {
      this.#stick(entry, "the machine of this build cannot apply it: update this node");
      return false;
    }
    this.#index = entry.index;
    this.#owner.applied(entry, data, result);
    return false;
  }

  #stick(entry: Entry, why: string): void {
    this.stop();
    this.#owner.stuck(entry, why);
  }

  #take(): Entry {
    const page = this.#queue[0];
    const entry = page[this.#at++];
    if (this.#at === page.length) {
      this.#queue = this.#queue.slice(1);
      this.#at = 0;
    }
    return entry;
  }
}

const noData = new Uint8Array(0);

function resumeApplier(applier: Applier<unknown>): void {
  applier.continue();
}
