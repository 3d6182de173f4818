/**
 * What a file, the environment, flags or options said, before anybody judged it: a tree in which
 * every key and every value knows where it was written. Layers of such trees are merged and handed
 * to the schema as plain data; what the schema finds is traced back through the tree.
 */
import type { Origin, Path } from "./problem.ts";

/** A table, a list, or anything else. */
export type Source = SourceTable | SourceList | SourceScalar;

export interface SourceTable {
  readonly type: "table";
  readonly origin: Origin;
  /** In the order of writing. A Map, because keys such as `__proto__` are only keys here. */
  readonly entries: Map<string, SourceEntry>;
}

export interface SourceEntry {
  /** Where the key stands; the value has its own place. */
  readonly keyOrigin: Origin;
  readonly value: Source;
}

export interface SourceList {
  readonly type: "list";
  readonly origin: Origin;
  readonly items: Source[];
}

export interface SourceScalar {
  readonly type: "scalar";
  readonly origin: Origin;
  /** What the schema gets. Dates and integers beyond 2^53 come as objects no field accepts. */
  readonly value: unknown;
  /** What a message calls it: `"text"`, `5`, `the date 2026-01-01`. */
  readonly found: string;
}

/** A table without entries. */
export function emptyTable(origin: Origin): SourceTable {
  return { type: "table", origin, entries: new Map() };
}

/** What a message calls a value. */
export function describe(source: Source): string {
  if (source.type === "table") return "a table";
  if (source.type === "list") return source.items.length === 0 ? "an empty list" : "a list";
  return source.found;
}

/** Plain data for the schema. */
export function toPlain(source: Source): unknown {
  if (source.type === "scalar") return source.value;
  if (source.type === "list") return source.items.map(toPlain);
  const out: Record<string, unknown> = {};
  for (const [key, entry] of source.entries) {
    // Assignment would call the setter of `__proto__`; a definition makes an ordinary key.
    Object.defineProperty(out, key, {
      value: toPlain(entry.value),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return out;
}

/** The value at a path, or undefined when nothing was written there. */
export function lookUp(root: Source, path: Path): Source | undefined {
  let at: Source | undefined = root;
  for (const part of path) {
    if (at === undefined) return undefined;
    if (at.type === "table") at = at.entries.get(String(part))?.value;
    else if (at.type === "list") at = at.items[Number(part)];
    else return undefined;
  }
  return at;
}

/** Where to point for a path: the value there, else the nearest table or list around it. */
export function originAt(root: Source, path: Path): Origin {
  for (let length = path.length; length > 0; length--) {
    const source = lookUp(root, path.slice(0, length));
    if (source !== undefined) return source.origin;
  }
  return root.origin;
}

/** Puts `upper` over `lower`: tables key by key, everything else as a whole. */
export function merge(lower: SourceTable, upper: SourceTable): SourceTable {
  const entries = new Map(lower.entries);
  for (const [key, entry] of upper.entries) {
    const below = entries.get(key)?.value;
    entries.set(
      key,
      below?.type === "table" && entry.value.type === "table"
        ? { keyOrigin: entry.keyOrigin, value: merge(below, entry.value) }
        : entry,
    );
  }
  return { type: "table", origin: lower.origin, entries };
}

/** Writes a value at a dotted path of a tree that is being built. */
export function put(root: SourceTable, path: readonly string[], value: Source): void {
  let table = root;
  for (const key of path.slice(0, -1)) {
    let next = table.entries.get(key)?.value;
    if (next?.type !== "table") {
      next = emptyTable(value.origin);
      table.entries.set(key, { keyOrigin: value.origin, value: next });
    }
    table = next;
  }
  table.entries.set(path[path.length - 1], { keyOrigin: value.origin, value });
}
