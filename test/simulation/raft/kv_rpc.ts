/** The model's requests over covey.kv.v1, and its answers. */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { decodeText, encodeText } from "../../../src/base/bytes.ts";
import { Code, CoveyError } from "../../../src/base/error.ts";
import {
  Compare_Result,
  Compare_Target,
  type CompareSchema,
  ErrorInfoSchema,
  type KeyValue,
  type KV,
  type RequestOpSchema,
  type ResponseOp,
  type SessionSchema,
} from "../../../src/gen/covey/kv/v1/kv_pb.ts";
import type { CallOptions, Client } from "../../../src/ttrpc/service.ts";
import type {
  CompareTarget,
  Entry,
  KvAction,
  KvActionOutput,
  KvCompare,
  KvInput,
  KvOutput,
} from "../linearizability/kv_model.ts";
import { nameOf } from "./workload.ts";

export interface RequestParts {
  /** A value as it goes over the wire. */
  readonly padded: (value: string) => string;
  readonly session?: MessageInitShape<typeof SessionSchema>;
}

/** What became of a request that failed. */
export interface Failure {
  readonly error: CoveyError;
  /** Nothing was done and nothing will be. */
  readonly certain: boolean;
  /** The store's word for the refusal, empty when it was not asked. */
  readonly reason: string;
}

/** Rejects as the client does. */
export async function request(
  client: Client<typeof KV>,
  input: KvInput,
  { padded, session }: RequestParts,
  options: CallOptions,
): Promise<KvOutput> {
  const [action] = input.success;
  const isPlain = input.compares.length === 0 && input.success.length === 1;
  if (isPlain && action.kind === "get") {
    const { header, kvs } = await client.range({ key: encodeText(action.key) }, options);
    return one(header!.revision, { entry: toEntry(kvs[0]), deleted: 0 });
  }
  if (isPlain && action.kind === "put") {
    const { header, prevKv } = await client.put({
      key: encodeText(action.key),
      value: encodeText(padded(action.value)),
      prevKv: action.previous,
      session,
    }, options);
    return one(header!.revision, { entry: toEntry(prevKv), deleted: 0 });
  }
  if (isPlain && action.kind === "delete") {
    const { header, deleted, prevKvs } = await client.deleteRange({
      key: encodeText(action.key),
      prevKv: action.previous,
      session,
    }, options);
    return one(header!.revision, { entry: toEntry(prevKvs[0]), deleted: Number(deleted) });
  }
  const writes = input.success.some(({ kind }) => kind !== "get");
  const { header, succeeded, responses } = await client.txn({
    compare: input.compares.map((compare) => toCompare(compare, padded)),
    success: input.success.map((each) => toOperation(each, padded)),
    failure: input.failure.map((each) => toOperation(each, padded)),
    session: writes ? session : undefined,
  }, options);
  return { revision: Number(header!.revision), succeeded, actions: responses.map(toOutput) };
}

export function failureOf(thrown: unknown): Failure {
  const error = CoveyError.from(thrown);
  for (const { typeUrl, value } of error.details) {
    if (!typeUrl.endsWith(ErrorInfoSchema.typeName)) continue;
    const { notApplied, reason } = fromBinary(ErrorInfoSchema, value);
    return { error, certain: notApplied || error.sent === false, reason };
  }
  // What a node does not serve at all was not done either.
  const certain = error.sent === false || error.code === Code.unimplemented;
  return { error, certain, reason: "" };
}

function one(revision: bigint, action: KvActionOutput): KvOutput {
  return { revision: Number(revision), succeeded: true, actions: [action] };
}

const targets: Readonly<Record<CompareTarget, Compare_Target>> = {
  version: Compare_Target.VERSION,
  create: Compare_Target.CREATE,
  mod: Compare_Target.MOD,
  value: Compare_Target.VALUE,
};

function toCompare(
  { key, target, equals }: KvCompare,
  padded: (value: string) => string,
): MessageInitShape<typeof CompareSchema> {
  const number = typeof equals === "number" ? BigInt(equals) : 0n;
  return {
    key: encodeText(key),
    target: targets[target],
    result: Compare_Result.EQUAL,
    targetUnion: target === "version"
      ? { case: "version", value: number }
      : target === "create"
      ? { case: "createRevision", value: number }
      : target === "mod"
      ? { case: "modRevision", value: number }
      : { case: "value", value: encodeText(padded(String(equals))) },
  };
}

function toOperation(
  action: KvAction,
  padded: (value: string) => string,
): MessageInitShape<typeof RequestOpSchema> {
  const key = encodeText(action.key);
  switch (action.kind) {
    case "get":
      return { request: { case: "requestRange", value: { key } } };
    case "put": {
      const value = encodeText(padded(action.value));
      return { request: { case: "requestPut", value: { key, value, prevKv: action.previous } } };
    }
    case "delete":
      return { request: { case: "requestDeleteRange", value: { key, prevKv: action.previous } } };
  }
}

function toOutput({ response }: ResponseOp): KvActionOutput {
  switch (response.case) {
    case "responseRange":
      return { entry: toEntry(response.value.kvs[0]), deleted: 0 };
    case "responsePut":
      return { entry: toEntry(response.value.prevKv), deleted: 0 };
    case "responseDeleteRange":
      return {
        entry: toEntry(response.value.prevKvs[0]),
        deleted: Number(response.value.deleted),
      };
    default:
      throw new Error(`a transaction answered ${response.case}`);
  }
}

export function toEntry(found: KeyValue | undefined): Entry | undefined {
  if (found === undefined) return undefined;
  const { value, createRevision, modRevision, version } = found;
  return {
    value: nameOf(decodeText(value) ?? ""),
    create: Number(createRevision),
    mod: Number(modRevision),
    version: Number(version),
  };
}
