/**
 * Running the chosen branches of a transaction, in slices where they look at many keys. Nothing can
 * refuse them any more, and how they are sliced shows nowhere.
 */
import type { Change, Store } from "./store.ts";
import type { Chosen } from "./transaction.ts";
import type { DeleteRangeCommand, Operation, TransactionCommand } from "./command.ts";
import type { KeyValue, OperationResult, TransactionResult } from "./result.ts";
import { assert } from "../../base/assert.ts";
import type { LongCommand } from "./long_command.ts";
import type { Position } from "./key_index.ts";
import { RangeScan } from "./range.ts";
import { revisionAfter, runPut } from "./transaction.ts";

type PlainOperation = Exclude<Operation, TransactionCommand>;

/** A transaction, or one in it, and how far it has come. */
interface Level {
  readonly chosen: Chosen;
  readonly results: OperationResult[];
  /** How many of its own transactions have begun. */
  nested: number;
}

/** An interval that is being deleted. */
interface Deleting {
  readonly position: Position;
  readonly previous: KeyValue[];
  /** What the transaction had changed before. */
  readonly changedBefore: number;
}

export class TransactionRun implements LongCommand {
  readonly change: Change;
  readonly #store: Store;
  /** The innermost last. */
  readonly #levels: Level[];
  #scan: RangeScan | undefined = undefined;
  #deleting: Deleting | undefined = undefined;
  #result: TransactionResult | undefined = undefined;

  /** The bytes of `chosen` must live as long as this: see {@link ownBytes}. */
  constructor(chosen: Chosen, store: Store) {
    this.#store = store;
    this.change = { main: store.revision + 1, sub: 0 };
    this.#levels = [{ chosen, results: [], nested: 0 }];
  }

  step(keys: number): boolean {
    for (let left = keys; left > 0 && this.#result === undefined;) left -= this.#some(left);
    return this.#result !== undefined;
  }

  result(): TransactionResult {
    assert(this.#result !== undefined, "the transaction has run");
    return this.#result;
  }

  /** Goes on with one operation; about how many keys it looked at. */
  #some(keys: number): number {
    const level = this.#levels[this.#levels.length - 1];
    const { chosen, results } = level;
    const operation = chosen.operations[results.length];
    if (operation === undefined) {
      this.#levels.pop();
      this.#keep({
        kind: "transaction",
        revision: revisionAfter(this.change),
        succeeded: chosen.succeeded,
        results,
      });
      return 1;
    }
    if (operation.kind === "transaction") {
      this.#levels.push({ chosen: chosen.nested[level.nested++], results: [], nested: 0 });
      return 1;
    }
    return this.#plain(operation, keys);
  }

  #plain(operation: PlainOperation, keys: number): number {
    switch (operation.kind) {
      case "put": {
        const previous = runPut(operation, this.#store, this.change);
        this.#keep({ kind: "put", revision: revisionAfter(this.change), previous });
        return 1;
      }
      case "range": {
        const newest = revisionAfter(this.change);
        this.#scan ??= new RangeScan(this.#store, operation, { newest });
        const result = this.#scan.step(keys);
        if (result === undefined) return keys;
        assert(typeof result === "object", "nothing is compacted in the middle of an entry");
        this.#scan = undefined;
        this.#keep(result);
        return 1 + result.entries.length;
      }
      case "deleteRange":
        return this.#delete(operation, keys);
    }
  }

  #delete({ key, end, previous }: DeleteRangeCommand, keys: number): number {
    const { change } = this;
    const { sub } = change;
    const begun = this.#deleting ??= this.#beginDelete(key);
    const collected = previous ? begun.previous : undefined;
    if (end.length === 0) this.#store.deleteRange(key, end, change, collected);
    else if (!this.#store.deleteSome(begun.position, end, { change, previous: collected, keys })) {
      return keys;
    }
    this.#deleting = undefined;
    this.#keep({
      kind: "deleteRange",
      revision: revisionAfter(change),
      deleted: change.sub - begun.changedBefore,
      previous: begun.previous,
    });
    return 1 + change.sub - sub;
  }

  #beginDelete(key: Uint8Array): Deleting {
    const position: Position = { leaf: 0, slot: 0 };
    this.#store.index.seek(key, position);
    return { position, previous: [], changedBefore: this.change.sub };
  }

  #keep(result: OperationResult): void {
    const level = this.#levels[this.#levels.length - 1];
    if (level !== undefined) level.results.push(result);
    else {
      assert(result.kind === "transaction", "the outermost is the transaction itself");
      this.#result = result;
    }
  }
}

/** The same with bytes of its own: an entry's need not outlive the first slice. */
export function ownBytes(chosen: Chosen): Chosen {
  return {
    succeeded: chosen.succeeded,
    operations: chosen.operations.map(owned),
    nested: chosen.nested.map(ownBytes),
  };
}

function owned(operation: Operation): Operation {
  // Which of a nested transaction's operations run is in the list beside it.
  if (operation.kind === "transaction") return operation;
  const key = operation.key.slice();
  if (operation.kind === "put") return { ...operation, key, value: operation.value.slice() };
  return { ...operation, key, end: operation.end.slice() };
}
