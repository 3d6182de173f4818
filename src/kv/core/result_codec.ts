/**
 * Results as bytes: for a peer that forwarded a command, and for the session table in snapshots.
 * The first byte is the format's version.
 */
import { ByteReader, ByteWriter } from "./bytes.ts";
import {
  failureReasons,
  type KeyValue,
  type KvResult,
  type OperationResult,
  type RangeResult,
} from "./result.ts";
import { unreachable } from "../../base/assert.ts";

export const resultVersion = 1;

const Kind = {
  put: 1,
  deleteRange: 2,
  transaction: 3,
  range: 4,
  compact: 5,
  leaseGrant: 6,
  leaseRevoke: 7,
  sessionOpen: 8,
  done: 9,
  failure: 10,
} as const;

const depthMax = 256;

export function encodeResult(result: KvResult): Uint8Array {
  const writer = new ByteWriter().byte(resultVersion);
  writeResult(writer, result);
  return writer.finish();
}

/** Undefined when the bytes are no result of this version. */
export function decodeResult(bytes: Uint8Array): KvResult | undefined {
  const reader = new ByteReader(bytes);
  if (reader.byte() !== resultVersion) return undefined;
  const result = readResult(reader, 0);
  return reader.failed || reader.left > 0 ? undefined : result;
}

function writeResult(writer: ByteWriter, result: KvResult): void {
  writer.byte(Kind[result.kind]).number(result.revision);
  switch (result.kind) {
    case "put":
      writer.byte(result.previous === undefined ? 0 : 1);
      if (result.previous !== undefined) writeEntry(writer, result.previous);
      return;
    case "deleteRange":
      writer.number(result.deleted);
      return writeEntries(writer, result.previous);
    case "range":
      writer.number(result.count).byte(result.more ? 1 : 0);
      return writeEntries(writer, result.entries);
    case "transaction":
      writer.byte(result.succeeded ? 1 : 0).number(result.results.length);
      for (const one of result.results) writeResult(writer, one);
      return;
    case "leaseGrant":
      writer.number(result.id).number(result.ttlMs);
      return;
    case "leaseRevoke":
      writer.number(result.deleted);
      return;
    case "sessionOpen":
      writer.number(result.session);
      return;
    case "compact":
    case "done":
      return;
    case "failure":
      writer.byte(failureReasons.indexOf(result.reason)).number(result.compactRevision);
      return;
    default:
      unreachable(result);
  }
}

function writeEntries(writer: ByteWriter, entries: readonly KeyValue[]): void {
  writer.number(entries.length);
  for (const entry of entries) writeEntry(writer, entry);
}

function writeEntry(writer: ByteWriter, entry: KeyValue): void {
  writer.bytes(entry.key).bytes(entry.value);
  writer.number(entry.createRevision).number(entry.modRevision);
  writer.number(entry.version).number(entry.lease);
}

function readResult(reader: ByteReader, depth: number): KvResult | undefined {
  const kind = reader.byte();
  const revision = reader.number();
  switch (kind) {
    case Kind.put: {
      const previous = readFlag(reader) ? readEntry(reader) : undefined;
      return { kind: "put", revision, previous };
    }
    case Kind.deleteRange:
      return {
        kind: "deleteRange",
        revision,
        deleted: reader.number(),
        previous: readEntries(reader),
      };
    case Kind.range:
      return readRange(reader, revision);
    case Kind.transaction: {
      const succeeded = readFlag(reader);
      const results: OperationResult[] = [];
      if (depth >= depthMax) reader.fail();
      for (let left = reader.count(); left > 0 && !reader.failed; left--) {
        const one = readResult(reader, depth + 1);
        if (one === undefined || !isOperationResult(one)) reader.fail();
        else results.push(one);
      }
      return { kind: "transaction", revision, succeeded, results };
    }
    case Kind.compact:
      return { kind: "compact", revision };
    case Kind.leaseGrant:
      return { kind: "leaseGrant", revision, id: reader.number(), ttlMs: reader.number() };
    case Kind.leaseRevoke:
      return { kind: "leaseRevoke", revision, deleted: reader.number() };
    case Kind.sessionOpen:
      return { kind: "sessionOpen", revision, session: reader.number() };
    case Kind.done:
      return { kind: "done", revision };
    case Kind.failure: {
      const reason = failureReasons[reader.byte()];
      const compactRevision = reader.number();
      if (reason === undefined) break;
      return { kind: "failure", revision, reason, compactRevision };
    }
  }
  reader.fail();
  return undefined;
}

function isOperationResult(result: KvResult): result is OperationResult {
  return result.kind === "put" || result.kind === "deleteRange" || result.kind === "range" ||
    result.kind === "transaction";
}

function readRange(reader: ByteReader, revision: number): RangeResult {
  const count = reader.number();
  const more = readFlag(reader);
  return { kind: "range", revision, count, more, entries: readEntries(reader) };
}

function readFlag(reader: ByteReader): boolean {
  const flag = reader.byte();
  if (flag > 1) reader.fail();
  return flag === 1;
}

function readEntries(reader: ByteReader): KeyValue[] {
  const entries: KeyValue[] = [];
  for (let left = reader.count(); left > 0 && !reader.failed; left--) {
    entries.push(readEntry(reader));
  }
  return entries;
}

/** Copies its bytes, so that a result does not hold on to what it came in. */
function readEntry(reader: ByteReader): KeyValue {
  return {
    key: reader.bytes().slice(),
    value: reader.bytes().slice(),
    createRevision: reader.number(),
    modRevision: reader.number(),
    version: reader.number(),
    lease: reader.number(),
  };
}
