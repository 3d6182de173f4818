/** What the limits on one command count, told from the naive twin. */
import type { DeleteRangeCommand, RangeRequest } from "../../../src/kv/core/command.ts";
import { type Change, text, type Twin, within } from "./twin.ts";

/** What an operation of the transaction changed before. */
export interface Written {
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  readonly keys: number;
  /** Of a put: what it counts as an entry. */
  readonly weight?: number;
}

interface Weight {
  readonly keys: number;
  readonly bytes: number;
}

export function entryWeight(change: Pick<Change, "key" | "value">): number {
  return 64 + change.key.length + change.value.length;
}

export function deleteWeight(twin: Twin, command: DeleteRangeCommand): Weight {
  const found = twin.state(twin.revision).filter((change) => within(change.key, command));
  return { keys: found.length, bytes: found.reduce((sum, one) => sum + entryWeight(one), 0) };
}

/** Before anything of the transaction is done; `written` is what it does before the range. */
export function rangeWeight(twin: Twin, request: RangeRequest, written: Written[]): Weight {
  const seen = request.revision === 0 ? written.filter((one) => overlap(one, request)) : [];
  const more = seen.reduce((sum, one) => sum + one.keys, 0);
  const limit = request.limit === 0 ? 0 : request.limit + more;
  const result = twin.read({ ...request, limit }, twin.revision);
  let bytes = 0;
  if (result.kind === "range") {
    for (const { key, value } of result.entries) bytes += 64 + key.length + value.length;
  }
  for (const { key, weight } of request.countOnly ? [] : seen) {
    if (weight !== undefined) bytes += request.keysOnly ? 64 + key.length : weight;
  }
  return { keys: keysOf(twin, request, limit), bytes };
}

function keysOf(twin: Twin, request: RangeRequest, limit: number): number {
  const isPlain = request.sortTarget === 0 && request.sortOrder !== 2 &&
    [request.modMin, request.modMax, request.createMin, request.createMax]
      .every((bound) => bound === 0);
  const { revision } = request;
  const inside = request.end.length === 0
    ? 0
    : twin.state(revision === 0 ? twin.revision : revision)
      .filter((change) => within(change.key, request)).length;
  if (revision === 0 && isPlain) {
    if (request.countOnly) return 0;
    return limit === 0 ? inside : Math.min(limit, inside);
  }
  if (revision === 0) return inside;
  const newer = twin.changes.filter((one) => one.mod > revision && within(one.key, request));
  return inside + newer.length;
}

function overlap(
  a: { readonly key: Uint8Array; readonly end: Uint8Array },
  b: { readonly key: Uint8Array; readonly end: Uint8Array },
): boolean {
  return within(text(a.key), b) || within(text(b.key), a) &&
      (b.end.length === 0 || text(b.end) > text(b.key));
}
