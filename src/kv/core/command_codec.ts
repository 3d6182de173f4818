/**
 * Commands as bytes in the log. Written by hand rather than as protobuf: an entry is on every
 * replica's disk, and this is the smaller and the faster one (docs/reference/kv.md has the figures).
 *
 *   version · kind | 0x80 if a session follows · [session sequence acknowledged] · body
 *
 * In version 2 the session is 0 and its opening follows: one byte, 1 for a single command, and the
 * nonce. Nothing else is written in that version, so that replicas of an earlier build go on until
 * somebody opens a session so.
 *
 * Numbers are base 128, byte strings stand behind their length. A new kind, field or flag needs a
 * new version, because an older replica could not tell what it means and would come to differ.
 */
import type { Command, Compare, Envelope, Operation, PutCommand, RangeRequest } from "./command.ts";
import { type Opening, openingBytes, type SessionHeader } from "./command.ts";
import type { CompareOperator, CompareTarget, DeleteRangeCommand } from "./command.ts";
import type { LeaseRemainder, SortOrder, SortTarget, TransactionCommand } from "./command.ts";
import { ByteReader, ByteWriter, noBytes, numberBytes } from "./bytes.ts";
import { type KvLimits, limitNames, limitsLeast } from "./limits.ts";
import { unreachable } from "../../base/assert.ts";

/** The newest that this build reads. */
export const commandVersion = 2;
/** What is written unless a session is opened with its first command. */
export const plainVersion = 1;

export const Kind = {
  put: 1,
  deleteRange: 2,
  transaction: 3,
  range: 4,
  compact: 5,
  leaseGrant: 6,
  leaseRevoke: 7,
  leaseExpire: 8,
  leaseCheckpoint: 9,
  sessionOpen: 10,
  sessionClose: 11,
  configure: 12,
} as const;

const kindMax = Math.max(...Object.values(Kind));

export const withSession = 0x80;

export const PutFlag = {
  previous: 1,
  ignoreValue: 2,
  ignoreLease: 4,
  value: 8,
  lease: 16,
} as const;
export const putFlagsMax = 31;
const RangeFlag = { keysOnly: 1, countOnly: 2, numbers: 4, sort: 8 } as const;
const rangeFlagsMax = 15;

/** Nested deeper than any transaction within the limits can be. */
const depthMax = 256;

export function encodeCommand(command: Command, session?: SessionHeader): Uint8Array {
  const writer = new ByteWriter(bytesExpected(command, session));
  const opening = session?.opening;
  writer.byte(opening === undefined ? plainVersion : commandVersion);
  writer.byte(Kind[command.kind] | (session === undefined ? 0 : withSession));
  if (session !== undefined) {
    writer.number(session.session).number(session.sequence).number(session.acknowledged);
  }
  if (opening !== undefined) writer.byte(opening.single ? 1 : 0).raw(opening.nonce);
  writeBody(writer, command);
  return writer.finish();
}

/** Exact for the commonest command, which is then written without a copy. */
function bytesExpected(command: Command, session: SessionHeader | undefined): number {
  if (command.kind !== "put") return 64;
  const { key, value, lease } = command;
  let bytes = 3 + numberBytes(key.length) + key.length;
  if (value.length > 0) bytes += numberBytes(value.length) + value.length;
  if (lease > 0) bytes += numberBytes(lease);
  if (session === undefined) return bytes;
  return bytes + numberBytes(session.session) + numberBytes(session.sequence) +
    numberBytes(session.acknowledged) + (session.opening === undefined ? 0 : 1 + openingBytes);
}

function writeBody(writer: ByteWriter, command: Command): void {
  switch (command.kind) {
    case "put":
    case "deleteRange":
    case "transaction":
      return writeOperation(writer, command);
    case "compact":
      writer.number(command.revision);
      return;
    case "leaseGrant":
      writer.number(command.id).number(command.ttlMs);
      return;
    case "leaseRevoke":
      writer.number(command.id);
      return;
    case "leaseExpire":
      writer.number(command.ids.length);
      for (const id of command.ids) writer.number(id);
      return;
    case "leaseCheckpoint":
      writer.number(command.leases.length);
      for (const { id, remainingMs } of command.leases) writer.number(id).number(remainingMs);
      return;
    case "sessionOpen":
      return;
    case "sessionClose":
      writer.number(command.session);
      return;
    case "configure":
      return writeLimits(writer, command.limits);
    default:
      unreachable(command);
  }
}

/** Also in snapshots. */
export function writeLimits(writer: ByteWriter, limits: Partial<KvLimits>): void {
  const set = limitNames.filter((name) => limits[name] !== undefined);
  writer.number(set.length);
  for (const name of set) writer.byte(limitNames.indexOf(name)).number(limits[name] ?? 0);
}

function writeOperation(writer: ByteWriter, operation: Operation): void {
  switch (operation.kind) {
    case "put":
      return writePut(writer, operation);
    case "deleteRange":
      writer.byte(operation.previous ? 1 : 0).bytes(operation.key).bytes(operation.end);
      return;
    case "range":
      return writeRange(writer, operation);
    case "transaction":
      writer.number(operation.compares.length);
      for (const compare of operation.compares) writeCompare(writer, compare);
      writeOperations(writer, operation.success);
      writeOperations(writer, operation.failure);
      return;
    default:
      unreachable(operation);
  }
}

function writeOperations(writer: ByteWriter, operations: readonly Operation[]): void {
  writer.number(operations.length);
  for (const operation of operations) {
    writer.byte(Kind[operation.kind]);
    writeOperation(writer, operation);
  }
}

function writePut(writer: ByteWriter, put: PutCommand): void {
  writer.byte(
    (put.previous ? PutFlag.previous : 0) | (put.ignoreValue ? PutFlag.ignoreValue : 0) |
      (put.ignoreLease ? PutFlag.ignoreLease : 0) | (put.value.length > 0 ? PutFlag.value : 0) |
      (put.lease > 0 ? PutFlag.lease : 0),
  );
  writer.bytes(put.key);
  if (put.lease > 0) writer.number(put.lease);
  if (put.value.length > 0) writer.bytes(put.value);
}

function writeRange(writer: ByteWriter, range: RangeRequest): void {
  const numbers = [
    range.limit,
    range.revision,
    range.modMin,
    range.modMax,
    range.createMin,
    range.createMax,
  ];
  const plain = numbers.every((number) => number === 0);
  const sorted = range.sortOrder !== 0 || range.sortTarget !== 0;
  writer.byte(
    (range.keysOnly ? RangeFlag.keysOnly : 0) | (range.countOnly ? RangeFlag.countOnly : 0) |
      (plain ? 0 : RangeFlag.numbers) | (sorted ? RangeFlag.sort : 0),
  );
  writer.bytes(range.key).bytes(range.end);
  if (!plain) { for (const number of numbers) writer.number(number); }
  if (sorted) writer.byte(range.sortOrder).byte(range.sortTarget);
}

function writeCompare(writer: ByteWriter, compare: Compare): void {
  writer.byte(compare.target).byte(compare.operator).bytes(compare.key).bytes(compare.end);
  if (compare.target === 3) writer.bytes(compare.value);
  else writer.number(compare.number);
}

/**
 * Whether this build knows the version and the kind, and so can apply it or say that it is malformed.
 * Cheap: the leader asks it of every command.
 */
export function isKnownCommand(data: Uint8Array): boolean {
  if (data.length < 2) return data.length === 0 || data[0] <= commandVersion;
  return data[0] <= commandVersion && (data[1] & ~withSession) <= kindMax;
}

/** The bytes as a command, or why they are none. Byte strings are views of the input. */
export function decodeCommand(data: Uint8Array): Envelope | "malformed" | "unsupported_version" {
  if (data[0] > commandVersion) return "unsupported_version";
  if (data.length < 2 || data[0] === 0) return "malformed";
  const reader = new ByteReader(data, 2);
  const opens = data[0] !== plainVersion;
  let session: SessionHeader | undefined;
  if ((data[1] & withSession) !== 0) {
    session = {
      session: reader.number(),
      sequence: reader.number(),
      acknowledged: reader.number(),
      ...(opens ? { opening: readOpening(reader) } : {}),
    };
    if (session.sequence === 0 || session.acknowledged >= session.sequence) reader.fail();
  }
  if (opens && session?.session !== 0) return "malformed";
  const command = readBody(reader, data[1] & ~withSession);
  if (command === undefined || reader.failed || reader.left > 0) return "malformed";
  // A session's own beginning and end are no commands within one, but they may name it.
  if (session !== undefined && !opens && command.kind.startsWith("session")) return "malformed";
  return { session, command };
}

function readOpening(reader: ByteReader): Opening {
  const flag = reader.byte();
  if (flag > 1) reader.fail();
  return { nonce: reader.raw(openingBytes), single: flag === 1 };
}

function readBody(reader: ByteReader, kind: number): Command | undefined {
  switch (kind) {
    case Kind.put:
      return readPut(reader);
    case Kind.deleteRange:
      return readDeleteRange(reader);
    case Kind.transaction:
      return readTransaction(reader, 1);
    case Kind.compact:
      return { kind: "compact", revision: reader.number() };
    case Kind.leaseGrant:
      return { kind: "leaseGrant", id: reader.number(), ttlMs: reader.number() };
    case Kind.leaseRevoke:
      return { kind: "leaseRevoke", id: reader.number() };
    case Kind.leaseExpire:
      return { kind: "leaseExpire", ids: readMany(reader, () => reader.number()) };
    case Kind.leaseCheckpoint:
      return { kind: "leaseCheckpoint", leases: readMany(reader, () => readRemainder(reader)) };
    case Kind.sessionOpen:
      return { kind: "sessionOpen" };
    case Kind.sessionClose:
      return { kind: "sessionClose", session: reader.number() };
    case Kind.configure:
      return { kind: "configure", limits: readLimits(reader) };
    default:
      return undefined;
  }
}

function readMany<T>(reader: ByteReader, one: () => T): T[] {
  const items: T[] = [];
  for (let left = reader.count(); left > 0 && !reader.failed; left--) items.push(one());
  return items;
}

function readRemainder(reader: ByteReader): LeaseRemainder {
  return { id: reader.number(), remainingMs: reader.number() };
}

/** A limit that would lock everybody out, for good, is refused as malformed. */
export function readLimits(reader: ByteReader): Partial<KvLimits> {
  const limits: { -readonly [name in keyof KvLimits]?: number } = {};
  for (let left = reader.count(); left > 0 && !reader.failed; left--) {
    const name = limitNames[reader.byte()];
    const value = reader.number();
    if (name === undefined || value < limitsLeast[name]) reader.fail();
    else limits[name] = value;
  }
  return limits;
}

function flagsOf(reader: ByteReader, most: number): number {
  const flags = reader.byte();
  return flags <= most ? flags : reader.fail();
}

function readPut(reader: ByteReader): PutCommand {
  const flags = flagsOf(reader, putFlagsMax);
  const key = reader.bytes();
  const lease = (flags & PutFlag.lease) !== 0 ? reader.number() : 0;
  const value = (flags & PutFlag.value) !== 0 ? reader.bytes() : noBytes;
  return {
    kind: "put",
    key,
    value,
    lease,
    previous: (flags & PutFlag.previous) !== 0,
    ignoreValue: (flags & PutFlag.ignoreValue) !== 0,
    ignoreLease: (flags & PutFlag.ignoreLease) !== 0,
  };
}

function readDeleteRange(reader: ByteReader): DeleteRangeCommand {
  const previous = flagsOf(reader, 1) === 1;
  return { kind: "deleteRange", key: reader.bytes(), end: reader.bytes(), previous };
}

function readTransaction(reader: ByteReader, depth: number): TransactionCommand {
  const compares = readMany(reader, () => readCompare(reader));
  const success = readMany(reader, () => readOperation(reader, depth));
  const failure = readMany(reader, () => readOperation(reader, depth));
  return { kind: "transaction", compares, success, failure };
}

function readOperation(reader: ByteReader, depth: number): Operation {
  const kind = reader.byte();
  if (kind === Kind.put) return readPut(reader);
  if (kind === Kind.deleteRange) return readDeleteRange(reader);
  if (kind === Kind.transaction && depth < depthMax) return readTransaction(reader, depth + 1);
  if (kind !== Kind.range) reader.fail();
  return readRange(reader);
}

function readCompare(reader: ByteReader): Compare {
  const target = flagsOf(reader, 4) as CompareTarget;
  const operator = flagsOf(reader, 3) as CompareOperator;
  const key = reader.bytes();
  const end = reader.bytes();
  const isValue = target === 3;
  return {
    target,
    operator,
    key,
    end,
    number: isValue ? 0 : reader.number(),
    value: isValue ? reader.bytes() : noBytes,
  };
}

function readRange(reader: ByteReader): RangeRequest {
  const flags = flagsOf(reader, rangeFlagsMax);
  const key = reader.bytes();
  const end = reader.bytes();
  const number = (flags & RangeFlag.numbers) !== 0 ? () => reader.number() : () => 0;
  const limit = number(), revision = number();
  const modMin = number(), modMax = number(), createMin = number(), createMax = number();
  const sorted = (flags & RangeFlag.sort) !== 0;
  return {
    kind: "range",
    key,
    end,
    limit,
    revision,
    sortOrder: (sorted ? flagsOf(reader, 2) : 0) as SortOrder,
    sortTarget: (sorted ? flagsOf(reader, 4) : 0) as SortTarget,
    keysOnly: (flags & RangeFlag.keysOnly) !== 0,
    countOnly: (flags & RangeFlag.countOnly) !== 0,
    modMin,
    modMax,
    createMin,
    createMax,
  };
}
