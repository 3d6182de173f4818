/** The machine's results as answers on the wire. */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type {
  DeleteRangeResponseSchema,
  EventSchema,
  KeyValueSchema,
  PutResponseSchema,
  RangeResponseSchema,
  ResponseHeaderSchema,
  ResponseOpSchema,
  TxnResponseSchema,
} from "../gen/covey/kv/v1/kv_pb.ts";
import { entryOverheadBytes } from "./core/range.ts";
import type {
  DeleteRangeResult,
  KeyValue,
  KvEvent,
  KvResult,
  OperationResult,
  PutResult,
  RangeResult,
  TransactionResult,
} from "./core/result.ts";
import type { KvGroup } from "./group.ts";
import { numberBytes } from "./core/bytes.ts";

export type HeaderInit = MessageInitShape<typeof ResponseHeaderSchema>;
export type KeyValueInit = MessageInitShape<typeof KeyValueSchema>;
export type EventInit = MessageInitShape<typeof EventSchema>;
export type PutResponseInit = MessageInitShape<typeof PutResponseSchema>;
export type RangeResponseInit = MessageInitShape<typeof RangeResponseSchema>;
export type DeleteRangeResponseInit = MessageInitShape<typeof DeleteRangeResponseSchema>;
export type TxnResponseInit = MessageInitShape<typeof TxnResponseSchema>;
type ResponseOpInit = MessageInitShape<typeof ResponseOpSchema>;

/** Headers of a node's answers. */
export class Headers {
  readonly #parts: { readonly attached: KvGroup };
  #replica = 0n;
  #term = 0;
  #raftTerm = 0n;

  constructor(parts: { readonly attached: KvGroup }) {
    this.#parts = parts;
  }

  of(revision: number): HeaderInit {
    const { clusterId, replica, term } = this.#parts.attached;
    // Both change rarely: making big numbers of them each time would cost more than all the rest.
    if (this.#term !== term || this.#replica === 0n) {
      this.#replica = BigInt(replica);
      this.#term = term;
      this.#raftTerm = BigInt(term);
    }
    return {
      clusterId,
      memberId: this.#replica,
      revision: BigInt(revision),
      raftTerm: this.#raftTerm,
    };
  }
}

export function keyValueInit(entry: KeyValue): KeyValueInit {
  return {
    key: entry.key,
    createRevision: BigInt(entry.createRevision),
    modRevision: BigInt(entry.modRevision),
    version: BigInt(entry.version),
    value: entry.value,
    lease: BigInt(entry.lease),
  };
}

function previousInit(entry: KeyValue | undefined): KeyValueInit | undefined {
  return entry === undefined ? undefined : keyValueInit(entry);
}

export function eventInit(event: KvEvent): EventInit {
  const { entry, previous } = event;
  if (event.type === "put") {
    return { type: 0, kv: keyValueInit(entry), prevKv: previousInit(previous) };
  }
  return {
    type: 1,
    kv: { key: entry.key, modRevision: BigInt(entry.modRevision) },
    prevKv: previousInit(previous),
  };
}

export function putInit(header: HeaderInit | undefined, result: PutResult): PutResponseInit {
  return { header, prevKv: previousInit(result.previous) };
}

export function rangeInit(header: HeaderInit | undefined, result: RangeResult): RangeResponseInit {
  const { entries, more, count } = result;
  return { header, kvs: entries.map(keyValueInit), more, count: BigInt(count) };
}

export function deleteInit(
  header: HeaderInit | undefined,
  result: DeleteRangeResult,
): DeleteRangeResponseInit {
  const { deleted, previous } = result;
  return { header, deleted: BigInt(deleted), prevKvs: previous.map(keyValueInit) };
}

/** Nested answers carry no headers: the revision is the transaction's. */
export function transactionInit(
  header: HeaderInit | undefined,
  result: TransactionResult,
): TxnResponseInit {
  return { header, succeeded: result.succeeded, responses: result.results.map(operationInit) };
}

/** As etcd's, with the revision alone in the headers of operations. */
function operationInit(result: OperationResult): ResponseOpInit {
  const header = { revision: BigInt(result.revision) };
  switch (result.kind) {
    case "put":
      return { response: { case: "responsePut", value: putInit(header, result) } };
    case "range":
      return { response: { case: "responseRange", value: rangeInit(header, result) } };
    case "deleteRange":
      return { response: { case: "responseDeleteRange", value: deleteInit(header, result) } };
    case "transaction":
      return { response: { case: "responseTxn", value: transactionInit(undefined, result) } };
  }
}

/** What one entry takes in an answer, with what stands in front of it. */
export function entryBytes(entry: KeyValue): number {
  const { key, value, createRevision, modRevision, version, lease } = entry;
  const bytes = delimited(key.length) + delimited(value.length) + numeric(createRevision) +
    numeric(modRevision) + numeric(version) + numeric(lease);
  return delimited(bytes);
}

function delimited(length: number): number {
  return length === 0 ? 0 : 1 + numberBytes(length) + length;
}

function numeric(value: number): number {
  return value === 0 ? 0 : 1 + numberBytes(value);
}

/** More than a list of no more entries than this can take beside keys and values. */
const entryOverheadBytesMax = 48;
const operationOverheadBytes = 40;

/** What a result takes as an answer; exact where it comes near to the bound. */
export function answerBytes(result: KvResult, bytesMax: number): number {
  const rough = sumOf(result, roughBytes);
  return rough <= bytesMax ? rough : sumOf(result, entryBytes);
}

function roughBytes(entry: KeyValue): number {
  return entry.key.length + entry.value.length + entryOverheadBytesMax;
}

function sumOf(result: KvResult, bytesOf: (entry: KeyValue) => number): number {
  let bytes = operationOverheadBytes;
  switch (result.kind) {
    case "put":
      return result.previous === undefined ? bytes : bytes + bytesOf(result.previous);
    case "range":
      for (const entry of result.entries) bytes += bytesOf(entry);
      return bytes;
    case "deleteRange":
      for (const entry of result.previous) bytes += bytesOf(entry);
      return bytes;
    case "transaction":
      for (const one of result.results) bytes += sumOf(one, bytesOf);
      return bytes;
    default:
      return bytes;
  }
}

/** Entries whose answer may still fit, by what the machine's scans count. */
export function scanBytesMax(bytesMax: number): number {
  return bytesMax + entryOverheadBytes;
}

export function readTooLarge(bytesMax: number): CoveyError {
  return new CoveyError(
    Code.resourceExhausted,
    `the answer is larger than a message may be (${bytesMax} bytes): use limit and go on behind ` +
      "the last key, or ask for keys_only or count_only",
  );
}

/** The answer to a write that was applied, but whose result cannot be sent. */
export function resultTooLarge(bytesMax: number, revision: number): CoveyError {
  return new CoveyError(
    Code.resourceExhausted,
    `applied at revision ${revision}, but its answer is larger than a message may be (${bytesMax} ` +
      "bytes): ask for fewer previous values or ranges at a time",
  );
}
