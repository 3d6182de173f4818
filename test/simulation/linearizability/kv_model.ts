/**
 * The key-value store as a sequential object. Every request is a transaction: a get is one without
 * compares that gets. Answers carry etcd's revisions, which makes the model sharp: a write says at
 * which revision it happened, a read from which revision its value is and how new the store was.
 *
 * Every value that is put is put once in a history, so that whoever reads it knows the writer.
 */
import type { Model, Operation } from "./checker.ts";

/** A key as an answer shows it. */
export interface Entry {
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  /** Puts since the key was created. */
  readonly version: number;
}

export type CompareTarget = "version" | "create" | "mod" | "value";

/** Holds when the key's field is equal; a missing key has zeros and no value. */
export interface KvCompare {
  readonly key: string;
  readonly target: CompareTarget;
  readonly equals: number | string;
}

export type KvAction =
  | { readonly kind: "get"; readonly key: string }
  /** `previous` asks for the entry that was there before. */
  | {
    readonly kind: "put";
    readonly key: string;
    readonly value: string;
    readonly previous: boolean;
  }
  | { readonly kind: "delete"; readonly key: string; readonly previous: boolean };

export interface KvInput {
  readonly compares: readonly KvCompare[];
  readonly success: readonly KvAction[];
  /** Gets only. */
  readonly failure: readonly KvAction[];
}

/** What an action answered; `entry` is what was got, or what was there before if that was asked. */
export interface KvActionOutput {
  readonly entry: Entry | undefined;
  /** Keys that a delete deleted. */
  readonly deleted: number;
}

export interface KvOutput {
  /** The store's revision after the transaction. */
  readonly revision: number;
  readonly succeeded: boolean;
  /** One for each action of the branch that ran. */
  readonly actions: readonly KvActionOutput[];
}

export type KvOperation = Operation<KvInput, KvOutput>;

/**
 * What is known of a key, which has version 0 when it is not there. Where nobody saw yet at which
 * revision something happened, the number is negative: -7 stands for "7 or later".
 */
export interface Known extends Entry {
  /** Its next change has this revision or a later one. */
  readonly least: number;
}

export interface KvState {
  /** The newest revision is this one or a later one. */
  readonly revision: number;
  /** Keys that were ever written. */
  readonly keys: ReadonlyMap<string, Known>;
}

/** The revision of a store that was never written to. */
export const firstRevision = 1;

export const kvModel: Model<KvState, KvInput, KvOutput> = {
  initial: { revision: firstRevision, keys: new Map() },
  step: (state, input, output, next) =>
    output === undefined ? stepBlind(state, input, next) : stepSeen(state, input, output),
  key({ revision, keys }) {
    let text = `${revision}`;
    for (const key of [...keys.keys()].sort()) {
      const { value, create, mod, version, least } = keys.get(key)!;
      text += `,${key}=${value}/${create}/${mod}/${version}/${least}`;
    }
    return text;
  },
  open: openChanges,
  touched: (input) => keysOf(input).flatMap((key) => [putOf(key), deleteOf(key)]),
};

type Keys = Map<string, Known>;

const neverWritten: Known = { value: "", create: 0, mod: 0, version: 0, least: firstRevision + 1 };

function look(keys: Keys, key: string): Known {
  return keys.get(key) ?? neverWritten;
}

/** With an answer: the state afterwards if the answer is the one that this state gives. */
function stepSeen(state: KvState, input: KvInput, output: KvOutput): KvState | undefined {
  if (output.revision < state.revision) return undefined;
  const keys = new Map(state.keys);
  if (output.succeeded) {
    for (const compare of input.compares) if (!assume(keys, compare)) return undefined;
  }
  const actions = output.succeeded ? input.success : input.failure;
  if (actions.length !== output.actions.length) return undefined;
  let changes = false;
  for (let at = 0; at < actions.length; at++) {
    const action = actions[at];
    const { entry, deleted } = output.actions[at];
    const looks = action.kind === "get" || action.previous;
    if (looks && !matches(keys, action.key, entry, output.revision)) return undefined;
    if (action.kind === "get") continue;
    const isThere = look(keys, action.key).version > 0;
    if (action.kind === "delete" && deleted !== (isThere ? 1 : 0)) return undefined;
    if (action.kind === "delete" && !isThere) continue;
    if (!change(keys, action, output.revision)) return undefined;
    changes = true;
  }
  // Whatever the gets of the other branch showed is known by now.
  if (!output.succeeded && !input.compares.some((compare) => mayFail(keys, compare))) {
    return undefined;
  }
  if (changes && output.revision <= state.revision) return undefined;
  for (const { key } of [...input.compares, ...actions]) {
    const known = look(keys, key);
    if (known.least <= output.revision) keys.set(key, { ...known, least: output.revision + 1 });
  }
  return { revision: output.revision, keys };
}

/**
 * Without an answer: what it changes, if it changes anything. Its revision is any one behind those
 * of its keys: the revisions of other keys are left out of it, so that it can be put wherever
 * somebody notices it.
 */
function stepBlind(state: KvState, input: KvInput, next: number): KvState | undefined {
  const keys = new Map(state.keys);
  for (const compare of input.compares) if (!assume(keys, compare)) return undefined;
  let changes = false;
  let { revision } = state;
  for (const action of input.success) {
    if (action.kind === "get") continue;
    const { least, version } = look(keys, action.key);
    if (action.kind === "delete" && version === 0) continue;
    if (least > next) return undefined;
    change(keys, action, -least);
    revision = Math.max(revision, least);
    changes = true;
  }
  return changes ? { revision, keys } : undefined;
}

/** Puts or deletes; false when the key had its last change later than that. */
function change(keys: Keys, action: Exclude<KvAction, { kind: "get" }>, revision: number): boolean {
  const { key } = action;
  const before = look(keys, key);
  if (revision > 0 && revision < before.least) return false;
  const least = Math.abs(revision) + 1;
  const isThere = before.version > 0;
  keys.set(
    key,
    action.kind === "delete" ? { value: "", create: 0, mod: revision, version: 0, least } : {
      value: action.value,
      create: isThere ? before.create : revision,
      mod: revision,
      version: before.version + 1,
      least,
    },
  );
  return true;
}

/** Whether the key may be as it was seen; what was seen is known from then on. */
function matches(keys: Keys, key: string, seen: Entry | undefined, revision: number): boolean {
  const known = look(keys, key);
  if (seen === undefined) return known.version === 0;
  const fits = mayBe(known, seen) && seen.mod <= revision && seen.create <= seen.mod &&
    (seen.create === seen.mod) === (seen.version === 1);
  if (fits) keys.set(key, { ...seen, least: known.least });
  return fits;
}

function mayBe(known: Known, seen: Entry): boolean {
  return known.value === seen.value && known.version === seen.version &&
    isPossible(known.mod, seen.mod) && isPossible(known.create, seen.create);
}

function isPossible(known: number, seen: number): boolean {
  return known < 0 ? seen >= -known : seen === known;
}

/** The compare held; false when it cannot have. */
function assume(keys: Keys, { key, target, equals }: KvCompare): boolean {
  const known = look(keys, key);
  if (known.version === 0) return equals === 0;
  if (target === "value" || target === "version") return known[target] === equals;
  if (typeof equals !== "number" || equals === 0 || !isPossible(known[target], equals)) {
    return false;
  }
  if (target === "mod") {
    keys.set(key, { ...known, mod: equals, create: known.version === 1 ? equals : known.create });
  } else keys.set(key, { ...known, create: equals, mod: known.version === 1 ? equals : known.mod });
  return true;
}

function mayFail(keys: Keys, { key, target, equals }: KvCompare): boolean {
  const known = look(keys, key);
  return known.version === 0 ? equals !== 0 : known[target] !== equals;
}

/** What an operation may do to a key, as the search knows it. */
const putOf = (key: string): string => `put ${key}`;
const deleteOf = (key: string): string => `delete ${key}`;

/**
 * What may have happened unseen to the keys right before an answer. A key that the answer shows with
 * its value was not changed: nobody has seen those changes, and the value has its own writer.
 */
function openChanges(state: KvState, input: KvInput, output: KvOutput): string[] | undefined {
  const open = new Set<string>();
  const settled = new Set<string>();
  const add = (key: string): void => void open.add(putOf(key)).add(deleteOf(key));
  for (const { key } of input.compares) {
    const known = state.keys.get(key) ?? neverWritten;
    const wanted = output.succeeded ? keyWanted(input, key) : undefined;
    if (wanted === undefined) add(key);
    else if (!canBecome(known, wanted, output.revision)) return undefined;
    else if (known.create !== wanted.create) add(key);
    else {
      // It was not deleted since: every put that nobody saw counts.
      if (known.version < wanted.version) open.add(putOf(key));
      settled.add(deleteOf(key));
    }
  }
  const actions = output.succeeded ? input.success : input.failure;
  const written = new Set<string>();
  for (let at = 0; at < actions.length; at++) {
    const action = actions[at];
    const { key } = action;
    const seen = output.actions[at];
    if (seen === undefined) return undefined;
    if (!written.has(key)) {
      const known = state.keys.get(key) ?? neverWritten;
      const isAbsent = known.version === 0;
      const looks = action.kind === "get" || action.previous;
      if (looks && seen.entry !== undefined) {
        if (!mayBe(known, seen.entry)) return undefined;
        settled.add(putOf(key)).add(deleteOf(key));
      } else if (looks || (action.kind === "delete" && seen.deleted === 0)) {
        settled.add(putOf(key));
        if (isAbsent) settled.add(deleteOf(key));
        else open.add(deleteOf(key));
      } else if (action.kind === "delete" || keyWanted(input, key) === undefined) add(key);
    }
    if (action.kind !== "get") written.add(key);
  }
  return [...open].filter((name) => !settled.has(name));
}

interface KeyWanted {
  readonly create: number;
  readonly version: number;
}

/** What the compares say of a key that was there, if they say all of it. */
function keyWanted({ compares }: KvInput, key: string): KeyWanted | undefined {
  let create: number | undefined;
  let version: number | undefined;
  for (const compare of compares) {
    if (compare.key !== key || typeof compare.equals !== "number") continue;
    if (compare.target === "create") create = compare.equals;
    else if (compare.target === "version") version = compare.equals;
  }
  // Zeros speak of a key that was not there.
  return create === undefined || version === undefined || create * version === 0
    ? undefined
    : { create, version };
}

/** Whether changes that nobody saw can make this of a key before a revision. */
function canBecome(known: Known, { create, version }: KeyWanted, revision: number): boolean {
  const { least } = known;
  if (known.version > 0 && isPossible(known.create, create) && known.version <= version) {
    // Puts alone, each with a revision of its own.
    if (least + version - known.version <= revision) return true;
  }
  // Otherwise it is made anew, after it was deleted if it is there.
  const made = known.version > 0 ? least + 1 : least;
  return made <= create && create + version <= revision;
}

/** Cuts a history into parts that share no key, each of which can be looked at alone. */
export function partition(history: readonly KvOperation[]): KvOperation[][] {
  const parts = new Map<string, Set<string>>();
  for (const { input } of history) {
    const joined = new Set<string>();
    for (const key of keysOf(input)) {
      joined.add(key);
      for (const other of parts.get(key) ?? []) joined.add(other);
    }
    for (const key of joined) parts.set(key, joined);
  }
  const operations = new Map<Set<string>, KvOperation[]>();
  for (const operation of history) {
    // What nobody heard of and writes nothing has no part in this.
    const writes = operation.input.success.some(({ kind }) => kind !== "get");
    if (operation.output === undefined && !writes) continue;
    const part = parts.get(keysOf(operation.input)[0])!;
    const list = operations.get(part) ?? [];
    operations.set(part, list);
    list.push(operation);
  }
  return [...operations.values()];
}

export function keysOf(input: KvInput): string[] {
  const parts = [...input.compares, ...input.success, ...input.failure];
  return [...new Set(parts.map(({ key }) => key))];
}

/** What an operation's client learned of keys. */
export function entriesSeen({ input, output }: KvOperation): { key: string; entry: Entry }[] {
  if (output === undefined) return [];
  return (output.succeeded ? input.success : input.failure).flatMap((action, at) => {
    const entry = output.actions[at]?.entry;
    const looks = action.kind === "get" || action.previous;
    return entry === undefined || !looks ? [] : [{ key: action.key, entry }];
  });
}

/**
 * The same operations with what speeds the search up: answers are ordered by their revisions, and of
 * writes without an answer either somebody saw what they did, or nobody can tell them apart.
 */
export function hinted(history: readonly KvOperation[]): KvOperation[] {
  const seen = new Map<string, Entry>();
  const named = new Set<string>();
  for (const operation of history) {
    for (const { entry } of entriesSeen(operation)) seen.set(entry.value, entry);
    for (const { equals } of operation.input.compares) {
      if (typeof equals === "string") named.add(equals);
    }
  }
  return history.map((operation) => hintedOperation(operation, { seen, named }));
}

function hintedOperation(
  operation: KvOperation,
  { seen, named }: { seen: ReadonlyMap<string, Entry>; named: ReadonlySet<string> },
): KvOperation {
  const { input } = operation;
  const changes = input.success.flatMap(({ kind, key }) =>
    kind === "get" ? [] : kind === "put" ? [putOf(key)] : [deleteOf(key)]
  );
  const depends = input.compares.flatMap(({ key }) => [putOf(key), deleteOf(key)]);
  const written = new Set(input.success.filter(({ kind }) => kind !== "get").map(({ key }) => key));
  const drags = written.size > 1
    ? [...written].flatMap((key) => [putOf(key), deleteOf(key)])
    : undefined;
  const known = asSeen(operation, seen);
  if (known.output !== undefined) {
    return { ...known, changes, depends, rank: known.output.revision, alike: undefined };
  }
  const isPlain = input.compares.length === 0 && input.success.length === 1;
  const isTraceless = input.success.every((action) =>
    action.kind !== "put" || !(seen.has(action.value) || named.has(action.value))
  );
  const [{ kind, key }] = input.success;
  return {
    ...operation,
    changes,
    depends,
    drags,
    alike: isPlain && isTraceless ? `${kind} ${key}` : undefined,
  };
}

/**
 * A write whose value others saw: it made the version that they saw, and so was made of the one
 * before. If its client heard nothing, it happened all the same, at the revision that they saw.
 */
function asSeen(operation: KvOperation, seen: ReadonlyMap<string, Entry>): KvOperation {
  const { input, output } = operation;
  if (output?.succeeded === false) return operation;
  const pins: KvCompare[] = [];
  let mod = 0;
  for (const action of input.success) {
    if (action.kind !== "put") continue;
    const entry = seen.get(action.value);
    if (entry === undefined) continue;
    const { key } = action;
    mod = entry.mod;
    pins.push({ key, target: "version", equals: entry.version - 1 });
    if (entry.version > 1) pins.push({ key, target: "create", equals: entry.create });
  }
  if (pins.length === 0) return operation;
  const compares = [...input.compares, ...pins];
  if (output !== undefined) return { ...operation, input: { ...input, compares } };
  // How many keys it deleted nobody knows.
  if (input.success.some(({ kind }) => kind === "delete")) return operation;
  const puts = input.success.filter((action) => action.kind === "put");
  return {
    ...operation,
    input: {
      compares,
      success: puts.map((action) => ({ ...action, previous: false })),
      failure: [],
    },
    output: {
      revision: mod,
      succeeded: true,
      actions: puts.map(() => ({ entry: undefined, deleted: 0 })),
    },
  };
}
