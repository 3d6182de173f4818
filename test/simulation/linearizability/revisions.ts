/**
 * What the one global revision of a store says about a whole history, whatever the keys: etcd
 * counts every change, so that the answers themselves tell in which order things happened.
 */
import { entriesSeen, type Entry, keysOf, type KvAction, type KvOperation } from "./kv_model.ts";

/** A rule of the revisions that a history breaks. */
export interface RevisionProblem {
  readonly rule:
    | "each change has a revision of its own"
    | "revisions follow real time"
    | "a revision has one content"
    | "what is read is the newest of its revision";
  readonly operations: readonly KvOperation[];
  readonly text: string;
}

interface Change {
  readonly revision: number;
  /** Undefined for a delete. */
  readonly value: string | undefined;
  readonly operation: KvOperation;
}

interface Seen {
  readonly key: string;
  readonly entry: Entry;
  readonly operation: KvOperation;
}

/** The first problem of each rule; empty when all of them hold. */
export function checkRevisions(history: readonly KvOperation[]): RevisionProblem[] {
  const problems: RevisionProblem[] = [];
  const known = history.filter(({ output }) => output !== undefined);
  for (
    const problem of [
      uniqueRevisions(known),
      realTimeOrder(known),
      oneContent(known),
      newestRead(known),
    ]
  ) if (problem !== undefined) problems.push(problem);
  return problems;
}

/** What an operation is known to have changed. */
function changesOf(operation: KvOperation): { key: string; change: Change }[] {
  const { input, output } = operation;
  if (output === undefined || !output.succeeded) return [];
  const { revision } = output;
  return input.success.flatMap((action, at) => {
    if (!isChange(action, output.actions[at]?.deleted ?? 0)) return [];
    const value = action.kind === "put" ? action.value : undefined;
    return [{ key: action.key, change: { revision, value, operation } }];
  });
}

function isChange(action: KvAction, deleted: number): boolean {
  return action.kind === "put" || (action.kind === "delete" && deleted > 0);
}

function uniqueRevisions(known: readonly KvOperation[]): RevisionProblem | undefined {
  const byRevision = new Map<number, KvOperation>();
  for (const operation of known) {
    if (changesOf(operation).length === 0) continue;
    const { revision } = operation.output!;
    const other = byRevision.get(revision);
    if (other !== undefined) {
      return {
        rule: "each change has a revision of its own",
        operations: [other, operation],
        text: `both are said to be revision ${revision}`,
      };
    }
    byRevision.set(revision, operation);
  }
  return undefined;
}

/** Who began after another had ended sees at least its revision, and makes a later one. */
function realTimeOrder(known: readonly KvOperation[]): RevisionProblem | undefined {
  const byCall = [...known].sort((a, b) => a.call - b.call);
  const byEnd = [...known].sort((a, b) => a.end - b.end);
  let ended = 0;
  let newest: KvOperation | undefined;
  for (const operation of byCall) {
    for (; ended < byEnd.length && byEnd[ended].end < operation.call; ended++) {
      if (newest === undefined || byEnd[ended].output!.revision > newest.output!.revision) {
        newest = byEnd[ended];
      }
    }
    if (newest === undefined) continue;
    const before = newest.output!.revision;
    const { revision } = operation.output!;
    const isLater = changesOf(operation).length > 0 ? revision > before : revision >= before;
    if (!isLater) {
      return {
        rule: "revisions follow real time",
        operations: [newest, operation],
        text: `revision ${revision} was answered to a call that began after ${before} was known`,
      };
    }
  }
  return undefined;
}

function seenBy(operation: KvOperation): Seen[] {
  return entriesSeen(operation).map((seen) => ({ ...seen, operation }));
}

/** Everybody who saw a key at a revision saw the same, and the writer's value where that is known. */
function oneContent(known: readonly KvOperation[]): RevisionProblem | undefined {
  const rule = "a revision has one content";
  const seenAt = new Map<string, Seen>();
  /** Each value was put once, so it has one revision. */
  const revisionOf = new Map<string, Seen>();
  for (const operation of known) {
    for (const { key, change } of changesOf(operation)) {
      if (change.value === undefined) continue;
      const { revision: mod, value } = change;
      // Version and creation are not told to a writer; readers fill them in.
      const put: Seen = { key, operation, entry: { value, mod, create: 0, version: 0 } };
      seenAt.set(`${key}@${mod}`, put);
      revisionOf.set(value, put);
    }
  }
  for (const operation of known) {
    for (const seen of seenBy(operation)) {
      const { key, entry } = seen;
      const first = revisionOf.get(entry.value);
      if (first === undefined) revisionOf.set(entry.value, seen);
      else if (first.entry.mod !== entry.mod) {
        return {
          rule,
          operations: [first.operation, operation],
          text: `the one put of ${entry.value} is revision ${first.entry.mod} and ${entry.mod}`,
        };
      }
      const place = `${key}@${entry.mod}`;
      const other = seenAt.get(place);
      if (other === undefined || (other.entry.version === 0 && other.entry.value === entry.value)) {
        seenAt.set(place, seen);
        continue;
      }
      const same = other.entry.value === entry.value && other.entry.create === entry.create &&
        other.entry.version === entry.version;
      if (same) continue;
      return {
        rule,
        operations: [other.operation, operation],
        text: `key ${key} has two contents at revision ${entry.mod}`,
      };
    }
  }
  return undefined;
}

/** Between what a read found and the revision that it was read at, nobody changed the key. */
function newestRead(known: readonly KvOperation[]): RevisionProblem | undefined {
  const changes = new Map<string, Change[]>();
  for (const operation of known) {
    const add = (key: string, change: Change): void => {
      const list = changes.get(key) ?? [];
      changes.set(key, list);
      list.push(change);
    };
    for (const { key, change } of changesOf(operation)) add(key, change);
    // Who read something knows that it was put, whatever became of the writer.
    for (const { key, entry: { mod, value } } of seenBy(operation)) {
      add(key, { revision: mod, value, operation });
    }
  }
  for (const operation of known) {
    const { revision } = operation.output!;
    const ownChanges = changesOf(operation).length > 0;
    for (const { key, entry } of seenBy(operation)) {
      const missed = changes.get(key)?.find((change) =>
        change.revision > entry.mod &&
        (ownChanges ? change.revision < revision : change.revision <= revision)
      );
      if (missed === undefined) continue;
      return {
        rule: "what is read is the newest of its revision",
        operations: [missed.operation, operation],
        text: `at revision ${revision} key ${key} was read as of ${entry.mod}, ` +
          `but ${missed.revision} had changed it`,
      };
    }
  }
  return undefined;
}

/** Keys that any of these operations names, for a report. */
export function keysNamed(operations: readonly KvOperation[]): string[] {
  return [...new Set(operations.flatMap(({ input }) => keysOf(input)))].sort();
}
