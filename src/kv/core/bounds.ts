/**
 * What a command would look at and answer is weighed before it changes anything, so that one entry
 * holds no replica up and takes no more memory than a message. All replicas must come to the same
 * numbers: what counts are keys that are there, never places in the index, which still holds deleted
 * keys on some of them.
 *
 * A transaction is weighed on the state before it. Its own puts count in every later range that they
 * lie in; what it deletes makes no later range lighter.
 */
import {
  type Allowance,
  bytesAdded,
  chooseBranches,
  type Chosen,
  putBytes,
  type Tables,
  visitLive,
} from "./transaction.ts";
import { compareBytes, inInterval, noBytes } from "./bytes.ts";
import type { DeleteRangeCommand, PutCommand, RangeRequest } from "./command.ts";
import type { TransactionCommand } from "./command.ts";
import { entryBytes, recordOverheadBytes, resultOverheadBytes } from "./limits.ts";
import type { FailureReason } from "./result.ts";
import { nowhere } from "./records.ts";
import { RangeScan } from "./range.ts";
import type { Store } from "./store.ts";

/** A transaction that may run. */
export interface ToRun {
  readonly chosen: Chosen;
  /** That were looked at one by one, as they will be when it runs. */
  readonly keys: number;
}

/** Chooses the branches, and says why they may not run at once and as one. */
export function chooseToRun(
  transaction: TransactionCommand,
  tables: Tables,
): ToRun | FailureReason {
  const { store, limits } = tables;
  const allowance: Allowance = { keys: limits.scanKeysMax };
  const chosen = chooseBranches(transaction, tables, allowance);
  if (typeof chosen === "string") return chosen;
  const weight = new Weight(store, allowance);
  weight.add(chosen);
  if (allowance.keys < 0) return "too_many_keys";
  if (weight.bytes > limits.resultBytesMax) return "result_too_large";
  const bytes = bytesAdded(chosen, store);
  // A transaction that puts nothing may always run: it may be what makes room.
  return bytes > 0 && store.bytes + bytes > limits.databaseBytesMax
    ? "no_space"
    : { chosen, keys: limits.scanKeysMax - allowance.keys };
}

/** Whether a command of its own would answer with too much of what was there before. */
export function previousProblem(
  command: PutCommand | DeleteRangeCommand,
  { store, limits }: Tables,
): FailureReason | undefined {
  if (!command.previous) return undefined;
  let bytes = resultOverheadBytes;
  const fits = visitBefore(store, command, (record) => {
    bytes += bytesOf(store, record);
    return bytes <= limits.resultBytesMax;
  });
  return fits ? undefined : "result_too_large";
}

/** The records that the command replaces or deletes, until `visit` gives false. */
function visitBefore(
  store: Store,
  command: PutCommand | DeleteRangeCommand,
  visit: (record: number) => boolean,
): boolean {
  if (command.kind === "deleteRange" && command.end.length > 0) {
    return visitLive(store, command, visit);
  }
  const record = store.live(command.key);
  return record === nowhere || visit(record);
}

function bytesOf({ records }: Store, record: number): number {
  return entryBytes(records.keyLength(records.key(record)), records.valueLength(record));
}

/** What an operation changes. */
interface Write {
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  readonly keys: number;
  /** Of a put; undefined for a delete. */
  readonly valueBytes: number | undefined;
}

/** The sum over the operations of a transaction, in the order in which they run. */
class Weight {
  /** Of the whole result, at most. */
  bytes = 0;
  readonly #store: Store;
  readonly #allowance: Allowance;
  readonly #writes: Write[] = [];

  constructor(store: Store, allowance: Allowance) {
    this.#store = store;
    this.#allowance = allowance;
  }

  /** Stops where keys are too many. */
  add(chosen: Chosen): void {
    this.bytes += resultOverheadBytes;
    let nested = 0;
    for (const operation of chosen.operations) {
      if (this.#allowance.keys < 0) return;
      if (operation.kind === "transaction") {
        this.add(chosen.nested[nested++]);
        continue;
      }
      this.bytes += resultOverheadBytes;
      if (operation.kind === "range") this.#range(operation);
      else if (operation.kind === "put") this.#put(operation);
      else this.#delete(operation);
    }
  }

  #put(put: PutCommand): void {
    const valueBytes = putBytes(put, this.#store) - recordOverheadBytes - put.key.length;
    if (put.previous) this.#previous(put);
    this.#writes.push({ key: put.key, end: noBytes, keys: 1, valueBytes });
  }

  #delete(command: DeleteRangeCommand): void {
    const { key, end } = command;
    const keysBefore = this.#allowance.keys;
    if (end.length === 0) {
      if (command.previous) this.#previous(command);
      this.#writes.push({ key, end, keys: 1, valueBytes: undefined });
      return;
    }
    visitLive(this.#store, command, (record) => {
      if (command.previous) this.bytes += bytesOf(this.#store, record);
      return --this.#allowance.keys >= 0;
    });
    const keys = keysBefore - this.#allowance.keys;
    this.#writes.push({ key, end, keys, valueBytes: undefined });
  }

  #previous(command: PutCommand | DeleteRangeCommand): void {
    visitBefore(this.#store, command, (record) => {
      this.bytes += bytesOf(this.#store, record);
      return true;
    });
  }

  #range(request: RangeRequest): void {
    // At a revision that is named, nothing of the transaction itself is seen.
    const seen = request.revision === 0 ? this.#writes.filter((one) => meet(one, request)) : [];
    let { limit } = request;
    // Each key that is gone or has another place lets one follow that the limit left out before.
    if (limit > 0) { for (const { keys } of seen) limit += keys; }
    const scan = new RangeScan(this.#store, { ...request, limit });
    const { keys, bytes } = scan.weigh(this.#allowance.keys);
    this.#allowance.keys -= keys;
    this.bytes += bytes;
    if (request.countOnly) return;
    for (const { key, valueBytes } of seen) {
      if (valueBytes === undefined) continue;
      this.bytes += entryBytes(key.length, request.keysOnly ? 0 : valueBytes);
    }
  }
}

type Interval = Pick<Write, "key" | "end">;

function meet(a: Interval, b: Interval): boolean {
  const from = compareBytes(a.key, b.key) < 0 ? b.key : a.key;
  return inInterval(from, a.key, a.end) && inInterval(from, b.key, b.end);
}
