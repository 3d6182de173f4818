/**
 * A transaction that writes nothing, read without the log: its compares are decided at once, its
 * ranges are read in slices as of that same moment.
 */
import { assert } from "../../base/assert.ts";
import type { Chosen } from "./transaction.ts";
import type { Operation, TransactionCommand } from "./command.ts";
import type { OperationResult, RangeResult, TransactionResult } from "./result.ts";
import { RangeScan } from "./range.ts";
import type { Store } from "./store.ts";

/** Whether it writes nothing, whichever branch is chosen. */
export function readsOnly(transaction: TransactionCommand): boolean {
  const reads = (operation: Operation): boolean =>
    operation.kind === "range" || (operation.kind === "transaction" && readsOnly(operation));
  return transaction.success.every(reads) && transaction.failure.every(reads);
}

export class TransactionScan {
  readonly #chosen: Chosen;
  readonly #revision: number;
  readonly #scans: RangeScan[] = [];
  readonly #results: RangeResult[] = [];
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(store: Store, chosen: Chosen, bytesMax: number) {
    this.#chosen = chosen;
    this.#revision = store.revision;
    this.#bytesMax = bytesMax;
    this.#collect(store, chosen);
  }

  /** Like {@link RangeScan.step}. */
  step(keys: number): TransactionResult | "compacted" | "too_large" | undefined {
    if (this.#results.length < this.#scans.length) {
      const scan = this.#scans[this.#results.length];
      const result = scan.step(keys);
      if (result === "compacted" || result === "too_large") return result;
      if (this.#bytes + scan.bytes > this.#bytesMax) return "too_large";
      if (result === undefined) return undefined;
      this.#bytes += scan.bytes;
      this.#results.push(result);
    }
    if (this.#results.length < this.#scans.length) return undefined;
    return this.#result(this.#chosen, this.#results.values());
  }

  #collect(store: Store, chosen: Chosen): void {
    let nested = 0;
    for (const operation of chosen.operations) {
      if (operation.kind === "transaction") this.#collect(store, chosen.nested[nested++]);
      else {
        assert(operation.kind === "range", "only reads are read");
        this.#scans.push(new RangeScan(store, operation, { bytesMax: this.#bytesMax }));
      }
    }
  }

  #result(chosen: Chosen, results: Iterator<RangeResult>): TransactionResult {
    let nested = 0;
    const own = chosen.operations.map((operation): OperationResult => {
      if (operation.kind === "transaction") return this.#result(chosen.nested[nested++], results);
      return results.next().value;
    });
    const { succeeded } = chosen;
    return { kind: "transaction", revision: this.#revision, succeeded, results: own };
  }
}
