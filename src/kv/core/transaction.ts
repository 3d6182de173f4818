/**
 * Transactions: which branch, and whether it may run. Everything that could refuse it
 * is asked before the first change, so that a refusal changes nothing. Nested compares look at the
 * state before the transaction, as etcd's do.
 */
import { CompareOperator, CompareTarget } from "./command.ts";
import type { Compare, DeleteRangeCommand, Operation, PutCommand } from "./command.ts";
import type { TransactionCommand } from "./command.ts";
import { compareBytes, inInterval, isOpenEnd, noBytes } from "./bytes.ts";
import type { FailureReason, KeyValue } from "./result.ts";
import type { KvLimits } from "./limits.ts";
import type { Leases } from "./leases.ts";
import { nowhere } from "./records.ts";
import type { Position } from "./key_index.ts";
import { rangeProblem } from "./range.ts";
import { recordBytes } from "./limits.ts";
import type { Change, Store } from "./store.ts";

/** What an operation looks at. */
export interface Tables {
  readonly store: Store;
  readonly leases: Leases;
  readonly limits: KvLimits;
}

/** What is wrong with an operation whatever the store holds. */
export function shapeProblem(operation: Operation, limits: KvLimits): FailureReason | undefined {
  if (operation.kind === "transaction") return transactionShapeProblem(operation, limits);
  if (operation.key.length === 0) return "key_empty";
  if (operation.key.length > limits.keyBytesMax) return "key_too_large";
  if (operation.kind !== "put") {
    return operation.end.length > limits.keyBytesMax ? "key_too_large" : undefined;
  }
  if (operation.ignoreValue && operation.value.length > 0) return "value_provided";
  if (operation.ignoreLease && operation.lease !== 0) return "lease_provided";
  return undefined;
}

function transactionShapeProblem(
  transaction: TransactionCommand,
  limits: KvLimits,
): FailureReason | undefined {
  if (countOf(transaction) > limits.operationsMax) return "too_many_operations";
  const problem = nestedShapeProblem(transaction, limits);
  if (problem !== undefined) return problem;
  return writtenBy(transaction) === undefined ? "duplicate_key" : undefined;
}

function nestedShapeProblem(
  transaction: TransactionCommand,
  limits: KvLimits,
): FailureReason | undefined {
  for (const compare of transaction.compares) {
    if (compare.key.length === 0) return "key_empty";
    if (Math.max(compare.key.length, compare.end.length) > limits.keyBytesMax) {
      return "key_too_large";
    }
  }
  for (const operation of [...transaction.success, ...transaction.failure]) {
    const problem = operation.kind === "transaction"
      ? nestedShapeProblem(operation, limits)
      : shapeProblem(operation, limits);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The larger of its compares and its operations, nested ones included. */
function countOf(transaction: TransactionCommand): number {
  let compares = 0, operations = 0;
  const open: TransactionCommand[] = [transaction];
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    compares += one.compares.length;
    operations += one.success.length + one.failure.length;
    for (const operation of [...one.success, ...one.failure]) {
      if (operation.kind === "transaction") open.push(operation);
    }
  }
  return Math.max(compares, operations);
}

interface Written {
  readonly puts: Uint8Array[];
  readonly deletes: DeleteRangeCommand[];
}

/** What it may change, taken together over its branches; undefined if one run changes a key twice. */
function writtenBy(transaction: TransactionCommand): Written | undefined {
  const success = writtenByAll(transaction.success);
  const failure = writtenByAll(transaction.failure);
  if (success === undefined || failure === undefined) return undefined;
  // Only one of the branches runs: they may well name the same keys.
  return {
    puts: success.puts.concat(failure.puts),
    deletes: success.deletes.concat(failure.deletes),
  };
}

function writtenByAll(operations: readonly Operation[]): Written | undefined {
  const all: Written = { puts: [], deletes: [] };
  const puts: Owned<Uint8Array>[] = [], deletes: Owned<DeleteRangeCommand>[] = [];
  for (const [owner, operation] of operations.entries()) {
    let own: Written | undefined = { puts: [], deletes: [] };
    if (operation.kind === "put") own.puts.push(operation.key);
    else if (operation.kind === "deleteRange") own.deletes.push(operation);
    else if (operation.kind === "transaction") own = writtenBy(operation);
    if (own === undefined) return undefined;
    for (const what of own.puts) puts.push({ what, owner });
    for (const what of own.deletes) deletes.push({ what, owner });
    all.puts.push(...own.puts);
    all.deletes.push(...own.deletes);
  }
  return conflict(puts, deletes) ? undefined : all;
}

/** What one of several operations writes. */
interface Owned<What> {
  readonly what: What;
  readonly owner: number;
}

/**
 * Whether one operation puts what another one puts or deletes. There may be very many of them where
 * an operator has raised the limit, hence the order: what is looked for is found by halving.
 */
function conflict(
  puts: Owned<Uint8Array>[],
  deletes: readonly Owned<DeleteRangeCommand>[],
): boolean {
  puts.sort((a, b) => compareBytes(a.what, b.what));
  /** The first one from here on that is another operation's. */
  const others = new Uint32Array(puts.length);
  for (let at = puts.length - 1; at >= 0; at--) {
    const isSame = at + 1 < puts.length && puts[at + 1].owner === puts[at].owner;
    others[at] = isSame ? others[at + 1] : at + 1;
  }
  const isPut = (at: number, { key, end }: Pick<DeleteRangeCommand, "key" | "end">): boolean =>
    at < puts.length && inInterval(puts[at].what, key, end);
  return puts.some(({ what }, at) => isPut(others[at], { key: what, end: noBytes })) ||
    deletes.some(({ what, owner }) => {
      let low = 0, high = puts.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (compareBytes(puts[middle].what, what.key) < 0) low = middle + 1;
        else high = middle;
      }
      return isPut(low, what) && (puts[low].owner !== owner || isPut(others[low], what));
    });
}

/** A transaction whose branches are chosen. */
export interface Chosen {
  readonly succeeded: boolean;
  readonly operations: readonly Operation[];
  /** In the order in which they stand in `operations`. */
  readonly nested: readonly Chosen[];
}

/** How many keys may still be looked at one by one; below 0 they were too many. */
export interface Allowance {
  keys: number;
}

/** Chooses the branches, and says why they may not run. */
export function chooseBranches(
  transaction: TransactionCommand,
  tables: Tables,
  allowance: Allowance,
): Chosen | FailureReason {
  const chosen = choose(transaction, tables.store, allowance);
  if (allowance.keys < 0) return "too_many_keys";
  return rangesProblem(chosen, tables) ?? putsProblem(chosen, tables) ?? chosen;
}

function choose(transaction: TransactionCommand, store: Store, allowance: Allowance): Chosen {
  const succeeded = transaction.compares.every((compare) => holds(compare, store, allowance));
  const operations = succeeded ? transaction.success : transaction.failure;
  const nested = operations.filter((operation) => operation.kind === "transaction")
    .map((operation) => choose(operation, store, allowance));
  return { succeeded, operations, nested };
}

function rangesProblem(chosen: Chosen, tables: Tables): FailureReason | undefined {
  for (const operation of chosen.operations) {
    const problem = operation.kind === "range" ? rangeProblem(tables.store, operation) : undefined;
    if (problem !== undefined) return problem;
  }
  return first(chosen.nested, (one) => rangesProblem(one, tables));
}

function putsProblem(chosen: Chosen, tables: Tables): FailureReason | undefined {
  for (const operation of chosen.operations) {
    const problem = operation.kind === "put" ? putProblem(operation, tables) : undefined;
    if (problem !== undefined) return problem;
  }
  return first(chosen.nested, (one) => putsProblem(one, tables));
}

function first<T, R>(items: readonly T[], look: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = look(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Why the store as it is refuses a put, the quota aside. */
export function putProblem(put: PutCommand, tables: Tables): FailureReason | undefined {
  if ((put.ignoreValue || put.ignoreLease) && tables.store.live(put.key) === nowhere) {
    return "key_not_found";
  }
  return put.lease !== 0 && !tables.leases.has(put.lease) ? "lease_not_found" : undefined;
}

/** What the puts of the chosen branches add to the database. */
export function bytesAdded(chosen: Chosen, store: Store): number {
  let bytes = 0;
  for (const operation of chosen.operations) {
    if (operation.kind === "put") bytes += putBytes(operation, store);
  }
  for (const one of chosen.nested) bytes += bytesAdded(one, store);
  return bytes;
}

export function putBytes(put: PutCommand, store: Store): number {
  const valueBytes = put.ignoreValue
    ? store.records.valueLength(store.live(put.key))
    : put.value.length;
  return recordBytes(put.key.length, valueBytes);
}

function holds(compare: Compare, store: Store, allowance: Allowance): boolean {
  if (compare.end.length === 0) return passes(compare, store, store.live(compare.key));
  let any = false;
  const all = visitLive(store, compare, (record) => {
    any = true;
    return --allowance.keys >= 0 && passes(compare, store, record);
  });
  return all && (any || passes(compare, store, nowhere));
}

/** Visits the keys that are there in their order; false as soon as `visit` gives false. */
export function visitLive(
  store: Store,
  { key, end }: { readonly key: Uint8Array; readonly end: Uint8Array },
  visit: (record: number) => boolean,
): boolean {
  const { index, records } = store;
  const at: Position = { leaf: 0, slot: 0 };
  index.seek(key, at);
  const open = isOpenEnd(end);
  while (index.settle(at)) {
    const leaf = index.leaves[at.leaf];
    if (leaf.live === 0) {
      // Very many deleted keys may stand side by side.
      at.slot = leaf.count;
      continue;
    }
    const address = leaf.keys[at.slot++];
    if (!open && records.compareKey(address, end) >= 0) break;
    const record = store.liveOf(address);
    if (record !== nowhere && !visit(record)) return false;
  }
  return true;
}

function passes(compare: Compare, { records }: Store, record: number): boolean {
  // A missing key has no value that could be compared, and zeros for everything else.
  if (compare.target === CompareTarget.value) {
    return record !== nowhere &&
      satisfies(compareBytes(records.valueView(record), compare.value), compare.operator);
  }
  if (record === nowhere) return satisfies(0 - compare.number, compare.operator);
  const number = compare.target === CompareTarget.version
    ? records.version(record)
    : compare.target === CompareTarget.create
    ? records.create(record)
    : compare.target === CompareTarget.mod
    ? records.mod(record)
    : records.lease(record);
  return satisfies(number - compare.number, compare.operator);
}

function satisfies(difference: number, operator: CompareOperator): boolean {
  switch (operator) {
    case CompareOperator.equal:
      return difference === 0;
    case CompareOperator.greater:
      return difference > 0;
    case CompareOperator.less:
      return difference < 0;
    case CompareOperator.notEqual:
      return difference !== 0;
  }
}

/** The newest revision while a command runs: the one it makes, once it has changed anything. */
export function revisionAfter(change: Change): number {
  return change.sub > 0 ? change.main : change.main - 1;
}

/** Returns the previous key and value if the put asks for them. */
export function runPut(put: PutCommand, store: Store, change: Change): KeyValue | undefined {
  const { records } = store;
  const wanted = put.previous || put.ignoreValue || put.ignoreLease;
  const before = wanted ? store.live(put.key) : nowhere;
  const previous = put.previous && before !== nowhere ? records.keyValue(before) : undefined;
  // The arena does not move, so the old value can be read while the new record is written.
  const value = put.ignoreValue ? records.valueView(before) : put.value;
  const lease = put.ignoreLease ? records.lease(before) : put.lease;
  store.put({
    key: put.key,
    keyFrom: 0,
    keyTo: put.key.length,
    value,
    valueFrom: 0,
    valueTo: value.length,
    lease,
  }, change);
  return previous;
}
