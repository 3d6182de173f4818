/**
 * Fills a group's machine from snapshots that its leader sent. While one is being read a newer one
 * may come: then the machine is filled from that one, and only after it is used again.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { SnapshotMeta } from "./core/types.ts";
import type { GroupSnapshots } from "./group_snapshots.ts";

export interface RestoreOwner {
  /** The machine is as it was at the end of this snapshot. */
  restored(meta: SnapshotMeta): void;
  failed(error: CoveyError): void;
}

export class GroupRestore {
  readonly #snapshots: GroupSnapshots;
  readonly #owner: RestoreOwner;
  /** The newest that the log holds; undefined while the machine is not being restored. */
  #expected: SnapshotMeta | undefined = undefined;
  /** Durable, and not begun. */
  #next: SnapshotMeta | undefined = undefined;
  #running = false;

  constructor(snapshots: GroupSnapshots, owner: RestoreOwner) {
    this.#snapshots = snapshots;
    this.#owner = owner;
  }

  /** The machine is being filled, or will be. */
  get isRestoring(): boolean {
    return this.#expected !== undefined;
  }

  /** A snapshot takes the log's place. */
  expect(meta: SnapshotMeta): void {
    this.#expected = meta;
  }

  /** It is durable, and the log says so. */
  begin(meta: SnapshotMeta): void {
    this.#next = meta;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#next !== undefined) {
      const meta = this.#next;
      this.#next = undefined;
      const error = await this.#fill(meta);
      // A newer one voids this one, and whatever is wrong with it.
      if (meta !== this.#expected) continue;
      this.#expected = undefined;
      if (error === undefined) {
        this.#owner.restored(meta);
        await this.#snapshots.prune(meta.index);
      } else this.#owner.failed(error);
    }
    this.#running = false;
  }

  async #fill({ index, term }: SnapshotMeta): Promise<CoveyError | undefined> {
    try {
      await this.#snapshots.cancel();
      const found = await this.#snapshots.restore(
        index,
        (meta) => meta.index === index && meta.term === term,
      );
      if (found !== undefined) return undefined;
      return new CoveyError(Code.dataLoss, "the leader's snapshot is gone");
    } catch (error) {
      return CoveyError.from(error);
    }
  }
}
