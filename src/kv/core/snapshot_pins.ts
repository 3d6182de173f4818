/**
 * The snapshots of a machine that are being read. What they were begun with is kept until they end;
 * one for which too much would be kept is given up.
 */
import { Code, CoveyError } from "../../base/error.ts";
import { KvSnapshot, type SnapshotState } from "./snapshot.ts";
import type { Store } from "./store.ts";

/** So much is kept for any snapshot. */
const pinnedBytesLeast = 16 * 1024 * 1024;
/**
 * For one without a bound of its own: the log's, which must come to its end on a slow disk that
 * takes the log's entries beside it.
 */
const pinnedBytesUsual = 64 * 1024 * 1024;
const pinnedShareUsual = 2;

export class SnapshotPins {
  /** With their bounds. */
  readonly #open = new Map<KvSnapshot, number | undefined>();

  begin(state: SnapshotState, pinnedBytesMax: number | undefined): KvSnapshot {
    const snapshot = new KvSnapshot(state, (closed) => this.#open.delete(closed));
    this.#open.set(snapshot, pinnedBytesMax);
    return snapshot;
  }

  /** Old state of the store that is kept for snapshots alone. */
  bytes(store: Store): number {
    return store.pins > 0 ? store.uncleanedBytes : 0;
  }

  /** Gives up those for which too much is kept. */
  check(store: Store): void {
    if (this.#open.size === 0) return;
    const bytes = this.bytes(store);
    if (bytes < pinnedBytesLeast) return;
    const usual = Math.max(pinnedBytesUsual, pinnedShareUsual * store.bytes);
    for (const [snapshot, bytesMax] of this.#open) {
      if (bytes > (bytesMax ?? usual)) snapshot.expire(tooSlow(bytes));
    }
  }
}

function tooSlow(bytes: number): CoveyError {
  return new CoveyError(
    Code.resourceExhausted,
    `the snapshot was read too slowly: ${bytes} bytes of old state had to be kept for it; take it ` +
      "again over a faster link, from a node that is asked less, or while less is written",
  );
}
