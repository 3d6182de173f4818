/**
 * How much of a group's log stays in memory behind what is applied: a little always, more while
 * somebody follows from there on. Whoever needs what is gone begins with a snapshot, and what comes
 * behind that one is kept for him, or with enough load he would never get to the log's end.
 */
import type { CatchUp } from "./catch_up.ts";
import type { RaftNode } from "./core/node.ts";
import type { LogIndex } from "./core/types.ts";
import type { GroupSnapshots } from "./group_snapshots.ts";
import type { RaftOptions } from "./options.ts";

/** Somebody follows the log from here on. */
export interface LogHold {
  /** The first entry that he has not got. */
  from: LogIndex;
  release(): void;
}

export class LogMemory {
  readonly #options: RaftOptions;
  readonly #node: RaftNode;
  readonly #snapshots: GroupSnapshots;
  readonly #catchUp: CatchUp;
  readonly #holds = new Set<LogHold>();

  constructor(parts: {
    readonly options: RaftOptions;
    readonly node: RaftNode;
    readonly snapshots: GroupSnapshots;
    readonly catchUp: CatchUp;
  }) {
    this.#options = parts.options;
    this.#node = parts.node;
    this.#snapshots = parts.snapshots;
    this.#catchUp = parts.catchUp;
  }

  /** What is in memory now stays, within bounds, until `from` is moved or the hold released. */
  hold(): LogHold {
    const hold: LogHold = {
      from: this.#node.firstIndex,
      release: () => this.#holds.delete(hold),
    };
    this.#holds.add(hold);
    return hold;
  }

  /** Gives back what nobody needs. */
  trim(): void {
    const { catchUpBytes } = this.#options;
    let end: number = this.#catchUp.behind(catchUpBytes);
    if (end < this.#node.firstIndex) return;
    const least = this.#catchUp.behind(this.#heldBytesMax) + 1 as LogIndex;
    end = Math.min(end, this.#node.neededFrom(least) - 1);
    for (const { from } of this.#holds) if (from >= least) end = Math.min(end, from - 1);
    const { takingIndex } = this.#snapshots;
    // Where it will be the first that is of use, what is behind it must be there then.
    const isAwaited = this.#node.wantsSnapshot && takingIndex !== undefined;
    if (isAwaited && takingIndex + 1 >= Math.max(least, this.#node.firstIndex)) {
      end = Math.min(end, takingIndex);
    }
    this.#node.compact(end as LogIndex);
    this.#catchUp.forgotten(this.#node.firstIndex - 1 as LogIndex);
  }

  /**
   * While a snapshot is on its way as much log may come as it has bytes: over a link that is faster
   * than the log grows, it arrives before it is of no use.
   */
  get #heldBytesMax(): number {
    const { catchUpBytes, snapshotLogBytes } = this.#options;
    return Math.max(catchUpBytes, snapshotLogBytes, this.#snapshots.newestBytes);
  }
}
