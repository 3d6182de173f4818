/** Between what programs say and the messages of covey.kv.v1. */
import type { DescMessage, MessageInitShape, MessageShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import {
  Compare_Result as CompareResult,
  Compare_Target as CompareTarget,
  RangeRequest_SortOrder as SortOrder,
  RangeRequest_SortTarget as SortTarget,
} from "../gen/covey/kv/v1/kv_pb.ts";
import type {
  CompareSchema,
  DeleteRangeRequestSchema,
  KeyValue,
  Limits,
  PutRequestSchema,
  RangeRequestSchema,
  RequestOpSchema,
  ResponseHeader,
  ResponseOp,
  TxnRequestSchema,
} from "../gen/covey/kv/v1/kv_pb.ts";
import { KvEntry } from "./client_types.ts";
import type {
  DeleteFields,
  KeyInput,
  KeySelection,
  KvCompare,
  KvHeader,
  KvLimitsChange,
  KvOperation,
  KvOperationResult,
  KvTransaction,
  PutFields,
  RangeFields,
} from "./client_types.ts";
import { encodeText } from "../base/bytes.ts";
import type { Interval } from "./watch_index.ts";
import { noBytes, prefixEnd } from "./core/bytes.ts";

/** A plain object that becomes a message. */
type Init<S extends DescMessage> = Exclude<MessageInitShape<S>, MessageShape<S>>;

type RangeInit = Init<typeof RangeRequestSchema>;
type PutInit = Init<typeof PutRequestSchema>;
type DeleteInit = Init<typeof DeleteRangeRequestSchema>;
type CompareInit = Init<typeof CompareSchema>;
type OperationInit = Init<typeof RequestOpSchema>;
type TransactionInit = Init<typeof TxnRequestSchema>;

const zero = Uint8Array.of(0);

export function toBytes(input: KeyInput): Uint8Array {
  return typeof input === "string" ? encodeText(input) : input;
}

/** The interval of a selection; the empty prefix, and from the empty key on, are everything. */
export function toInterval(selection: KeySelection): Interval {
  if (typeof selection === "string" || selection instanceof Uint8Array) {
    return { key: toBytes(selection), end: noBytes };
  }
  if ("prefix" in selection) {
    const key = toBytes(selection.prefix);
    return key.length === 0 ? { key: zero, end: zero } : { key, end: prefixEnd(key) };
  }
  const from = toBytes(selection.from);
  const end = selection.to === undefined ? zero : toBytes(selection.to);
  if (end.length === 0) throw unusable("an interval's end is empty: leave `to` out for no end");
  return { key: from.length === 0 ? zero : from, end };
}

/** A number that goes out as 64 bits. */
export function toWire(value: number | undefined, name: string): bigint {
  if (value === undefined) return 0n;
  if (!Number.isSafeInteger(value) || value < 0) {
    throw unusable(`${name} is ${value}: it must be a whole number from 0`);
  }
  return BigInt(value);
}

function unusable(message: string): CoveyError {
  return new CoveyError(Code.invalidArgument, message, { sent: false });
}

const orders = { ascend: SortOrder.ASCEND, descend: SortOrder.DESCEND } as const;
const targets = {
  key: SortTarget.KEY,
  version: SortTarget.VERSION,
  create: SortTarget.CREATE,
  mod: SortTarget.MOD,
  value: SortTarget.VALUE,
} as const;

export function rangeRequest(keys: KeySelection, fields: RangeFields): RangeInit {
  const { key, end } = toInterval(keys);
  return {
    key,
    rangeEnd: end,
    limit: toWire(fields.limit, "limit"),
    revision: toWire(fields.revision, "revision"),
    sortOrder: fields.order === undefined ? SortOrder.NONE : orders[fields.order],
    sortTarget: targets[fields.sortBy ?? "key"],
    keysOnly: fields.keysOnly ?? false,
    countOnly: fields.countOnly ?? false,
    minModRevision: toWire(fields.minModRevision, "minModRevision"),
    maxModRevision: toWire(fields.maxModRevision, "maxModRevision"),
    minCreateRevision: toWire(fields.minCreateRevision, "minCreateRevision"),
    maxCreateRevision: toWire(fields.maxCreateRevision, "maxCreateRevision"),
  };
}

/** An undefined value keeps the one that is there. */
export function putRequest(key: KeyInput, value: KeyInput | undefined, fields: PutFields): PutInit {
  return {
    key: toBytes(key),
    value: value === undefined ? noBytes : toBytes(value),
    lease: toWire(fields.lease, "lease"),
    prevKv: fields.previous ?? false,
    ignoreValue: value === undefined,
    ignoreLease: fields.keepLease ?? false,
  };
}

export function deleteRequest(keys: KeySelection, fields: DeleteFields): DeleteInit {
  const { key, end } = toInterval(keys);
  return { key, rangeEnd: end, prevKv: fields.previous ?? false };
}

export function transactionRequest(transaction: KvTransaction): TransactionInit {
  return {
    compare: (transaction.compare ?? []).map(compareRequest),
    success: (transaction.success ?? []).map(operationRequest),
    failure: (transaction.failure ?? []).map(operationRequest),
  };
}

/** Nothing in it writes, so that it needs no session. */
export function readsOnly(transaction: KvTransaction): boolean {
  return [...transaction.success ?? [], ...transaction.failure ?? []].every((operation) =>
    "range" in operation || ("transaction" in operation && readsOnly(operation.transaction))
  );
}

function operationRequest(operation: KvOperation): OperationInit {
  if ("put" in operation) {
    const value = putRequest(operation.put, operation.value, operation);
    return { request: { case: "requestPut", value } };
  }
  if ("delete" in operation) {
    const value = deleteRequest(operation.delete, operation);
    return { request: { case: "requestDeleteRange", value } };
  }
  if ("range" in operation) {
    return { request: { case: "requestRange", value: rangeRequest(operation.range, operation) } };
  }
  return { request: { case: "requestTxn", value: transactionRequest(operation.transaction) } };
}

const operators = {
  "=": CompareResult.EQUAL,
  "!=": CompareResult.NOT_EQUAL,
  "<": CompareResult.LESS,
  ">": CompareResult.GREATER,
} as const;

function compareRequest(compare: KvCompare): CompareInit {
  const { key, end } = toInterval(compare.keys);
  const common = { key, rangeEnd: end, result: operators[compare.is ?? "="] };
  if ("value" in compare) {
    const value = toBytes(compare.value);
    return { ...common, target: CompareTarget.VALUE, targetUnion: { case: "value", value } };
  }
  if ("version" in compare) {
    const value = toWire(compare.version, "version");
    return { ...common, target: CompareTarget.VERSION, targetUnion: { case: "version", value } };
  }
  if ("createRevision" in compare) {
    const value = toWire(compare.createRevision, "createRevision");
    const targetUnion = { case: "createRevision", value } as const;
    return { ...common, target: CompareTarget.CREATE, targetUnion };
  }
  if ("modRevision" in compare) {
    const value = toWire(compare.modRevision, "modRevision");
    return { ...common, target: CompareTarget.MOD, targetUnion: { case: "modRevision", value } };
  }
  const value = toWire(compare.lease, "lease");
  return { ...common, target: CompareTarget.LEASE, targetUnion: { case: "lease", value } };
}

export function headerOf(header: ResponseHeader | undefined): KvHeader {
  if (header === undefined) {
    throw new CoveyError(Code.internal, "the node's answer has no header", { sent: true });
  }
  return {
    clusterId: header.clusterId,
    replica: Number(header.memberId),
    revision: Number(header.revision),
    term: Number(header.raftTerm),
  };
}

export function entryOf(wire: KeyValue): KvEntry {
  return new KvEntry({
    key: wire.key,
    value: wire.value,
    createRevision: Number(wire.createRevision),
    modRevision: Number(wire.modRevision),
    version: Number(wire.version),
    lease: Number(wire.lease),
  });
}

export function optionalEntry(wire: KeyValue | undefined): KvEntry | undefined {
  return wire === undefined ? undefined : entryOf(wire);
}

export function operationResult({ response }: ResponseOp): KvOperationResult {
  switch (response.case) {
    case "responsePut":
      return { kind: "put", previous: optionalEntry(response.value.prevKv) };
    case "responseDeleteRange":
      return {
        kind: "delete",
        deleted: Number(response.value.deleted),
        previous: response.value.prevKvs.map(entryOf),
      };
    case "responseRange":
      return {
        kind: "range",
        entries: response.value.kvs.map(entryOf),
        more: response.value.more,
        count: Number(response.value.count),
      };
    case "responseTxn":
      return {
        kind: "transaction",
        succeeded: response.value.succeeded,
        results: response.value.responses.map(operationResult),
      };
    default:
      throw new CoveyError(Code.internal, "the node's answer has an empty part", { sent: true });
  }
}

/** Zeros where an older node says nothing of them. */
export function limitsOf(limits: Limits | undefined): Required<KvLimitsChange> {
  return {
    requestBytesMax: Number(limits?.requestBytesMax ?? 0),
    keyBytesMax: Number(limits?.keyBytesMax ?? 0),
    operationsMax: Number(limits?.operationsMax ?? 0),
    databaseBytesMax: Number(limits?.databaseBytesMax ?? 0),
    leasesMax: Number(limits?.leasesMax ?? 0),
    leaseTtlMsMin: Number(limits?.leaseTtlMillisMin ?? 0),
    leaseTtlMsMax: Number(limits?.leaseTtlMillisMax ?? 0),
    sessionsMax: Number(limits?.sessionsMax ?? 0),
    sessionResultsMax: Number(limits?.sessionResultsMax ?? 0),
    sessionBytesMax: Number(limits?.sessionBytesMax ?? 0),
    sessionResultBytesMax: Number(limits?.sessionResultBytesMax ?? 0),
    resultBytesMax: Number(limits?.resultBytesMax ?? 0),
    scanKeysMax: Number(limits?.scanKeysMax ?? 0),
  };
}
