/** Requests from the wire as the machine's commands. Throws `invalid_argument` for what none is. */
import type {
  Compare as WireCompare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest as WireRange,
  RequestOp,
  Session as WireSession,
  TxnRequest,
} from "../gen/covey/kv/v1/kv_pb.ts";
import type {
  Compare,
  CompareOperator,
  CompareTarget,
  DeleteRangeCommand,
  Opening,
  Operation,
  PutCommand,
  RangeRequest,
  SessionHeader,
  SortOrder,
  SortTarget,
  TransactionCommand,
} from "./core/command.ts";
import { invalid } from "./refusal.ts";
import { openingBytes } from "./core/command.ts";
import { noBytes } from "./core/bytes.ts";

/** Numbers on the wire have 64 bits; nothing here ever needs more than 53. */
export function toNumber(value: bigint, name: string): number {
  if (value === 0n) return 0;
  const number = Number(value);
  if (number < 0 || !Number.isSafeInteger(number)) {
    throw invalid(`${name} is ${value}: it must be from 0 to 2^53 - 1`);
  }
  return number;
}

/** Where etcd takes a negative one for none. */
function toNumberOrNone(value: bigint, name: string): number {
  return value < 0n ? 0 : toNumber(value, name);
}

/** More than there can be is no limit either: clients say so with the largest number they have. */
function toLimit(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? 0 : toNumberOrNone(value, "limit");
}

export function toSession(session: WireSession | undefined): SessionHeader | undefined {
  if (session === undefined) return undefined;
  const header = {
    session: toNumber(session.id, "session.id"),
    sequence: toNumber(session.sequence, "session.sequence"),
    acknowledged: toNumber(session.acknowledged, "session.acknowledged"),
    ...openingOf(session),
  };
  if (header.session === 0 && header.opening === undefined) {
    throw invalid("session.id is 0: open a session first, or name it by session.opening");
  }
  if (session.single && header.opening === undefined) {
    throw invalid("session.single needs session.opening");
  }
  if (header.sequence === 0) throw invalid("session.sequence is 0: commands count from 1");
  if (header.acknowledged >= header.sequence) {
    throw invalid("session.acknowledged must be below session.sequence");
  }
  return header;
}

function openingOf({ id, opening, single }: WireSession): { opening?: Opening } {
  if (opening.length === 0) return {};
  if (id !== 0n) throw invalid("session.id is known: leave session.opening out");
  return { opening: toOpening(opening, single) };
}

export function toOpening(nonce: Uint8Array, single: boolean): Opening {
  if (nonce.length !== openingBytes) {
    throw invalid(`opening has ${nonce.length} bytes: draw ${openingBytes} at random`);
  }
  return { nonce, single };
}

/** The header of what only names a session by its opening: its beginning and its end. */
export function namedSession(opening: Uint8Array): SessionHeader | undefined {
  if (opening.length === 0) return undefined;
  return { session: 0, sequence: 1, acknowledged: 0, opening: toOpening(opening, false) };
}

export function toPut(request: PutRequest): PutCommand {
  return {
    kind: "put",
    key: request.key,
    value: request.value,
    lease: toNumber(request.lease, "lease"),
    previous: request.prevKv,
    ignoreValue: request.ignoreValue,
    ignoreLease: request.ignoreLease,
  };
}

export function toDeleteRange(request: DeleteRangeRequest): DeleteRangeCommand {
  return {
    kind: "deleteRange",
    key: request.key,
    end: request.rangeEnd,
    previous: request.prevKv,
  };
}

export function toRange(request: WireRange): RangeRequest {
  return {
    kind: "range",
    key: request.key,
    end: request.rangeEnd,
    limit: toLimit(request.limit),
    revision: toNumberOrNone(request.revision, "revision"),
    sortOrder: oneOf(request.sortOrder, 2, "sort_order") as SortOrder,
    sortTarget: oneOf(request.sortTarget, 4, "sort_target") as SortTarget,
    keysOnly: request.keysOnly,
    countOnly: request.countOnly,
    modMin: toNumber(request.minModRevision, "min_mod_revision"),
    modMax: toNumber(request.maxModRevision, "max_mod_revision"),
    createMin: toNumber(request.minCreateRevision, "min_create_revision"),
    createMax: toNumber(request.maxCreateRevision, "max_create_revision"),
  };
}

export function toTransaction(request: TxnRequest): TransactionCommand {
  return {
    kind: "transaction",
    compares: request.compare.map(toCompare),
    success: request.success.map(toOperation),
    failure: request.failure.map(toOperation),
  };
}

/** Every range of it may be answered from old state. Compares alone may not. */
export function isSerializable(request: TxnRequest): boolean {
  const operations = [...request.success, ...request.failure];
  return operations.length > 0 &&
    operations.every(({ request: one }) =>
      one.case === "requestRange"
        ? one.value.serializable
        : one.case === "requestTxn" && isSerializable(one.value)
    );
}

function toOperation({ request }: RequestOp): Operation {
  switch (request.case) {
    case "requestRange":
      return toRange(request.value);
    case "requestPut":
      onlyOutside(request.value.session);
      return toPut(request.value);
    case "requestDeleteRange":
      onlyOutside(request.value.session);
      return toDeleteRange(request.value);
    case "requestTxn":
      onlyOutside(request.value.session);
      return toTransaction(request.value);
    default:
      throw invalid("an operation of the transaction is empty: it needs a request");
  }
}

function onlyOutside(session: WireSession | undefined): void {
  if (session !== undefined) throw invalid("a session belongs to the transaction as a whole");
}

const unionOf = ["version", "createRevision", "modRevision", "value", "lease"] as const;

function toCompare(compare: WireCompare): Compare {
  const target = oneOf(compare.target, 4, "compare.target") as CompareTarget;
  const union = compare.targetUnion;
  if (union.case !== undefined && union.case !== unionOf[target]) {
    throw invalid(`a compare of ${unionOf[target]} is given a ${union.case}`);
  }
  return {
    target,
    operator: oneOf(compare.result, 3, "compare.result") as CompareOperator,
    key: compare.key,
    end: compare.rangeEnd,
    number: union.case === undefined || union.case === "value"
      ? 0
      : toNumber(union.value, `compare.${union.case}`),
    value: union.case === "value" ? union.value : noBytes,
  };
}

function oneOf(value: number, most: number, name: string): number {
  if (value < 0 || value > most) throw invalid(`${name} is ${value}: it is from 0 to ${most}`);
  return value;
}
