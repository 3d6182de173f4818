/** One plain form of envelopes, from three readers: ours, the library's and the strict twin's. */
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { toHex } from "../../src/base/bytes.ts";
import { RequestSchema, ResponseSchema } from "../../src/gen/covey/rpc/v1/rpc_pb.ts";
import { RequestReader, ResponseReader } from "../../src/ttrpc/core/envelope.ts";
import { type Parsed, requestFields, responseFields, WireTwin } from "./ttrpc_wire_twin.ts";

/** Values as text, so that they compare; undefined for bytes that are no envelope. */
export type View = Readonly<Record<string, unknown>> | undefined;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export interface Kind {
  readonly name: "request" | "response";
  ours(bytes: Uint8Array): View;
  library(bytes: Uint8Array): View;
  twin(bytes: Uint8Array): { readonly view: View; readonly leniencies: ReadonlySet<string> };
}

const requestReader = new RequestReader();
const responseReader = new ResponseReader();
const twin = new WireTwin();

/** Reads at an odd place of a larger buffer, as frames do. */
function placed<T>(
  bytes: Uint8Array,
  read: (buffer: Uint8Array, start: number, end: number) => T,
): T {
  const buffer = new Uint8Array(bytes.length + 9).fill(0x12);
  buffer.set(bytes, 5);
  return read(buffer, 5, 5 + bytes.length);
}

export const requestKind: Kind = {
  name: "request",
  ours: (bytes) =>
    placed(bytes, (buffer, start, end) => {
      const reader = requestReader;
      if (!reader.read(buffer, start, end)) return undefined;
      const low = BigInt(reader.timeoutLow >>> 0);
      return {
        service: decoder.decode(buffer.subarray(reader.serviceStart, reader.serviceEnd)),
        method: decoder.decode(buffer.subarray(reader.methodStart, reader.methodEnd)),
        payload: toHex(buffer.subarray(reader.payloadStart, reader.payloadEnd)),
        timeoutNano: (BigInt(reader.timeoutHigh | 0) << 32n) | low,
        metadata: reader.metadata ?? [],
      };
    }),
  library(bytes) {
    try {
      const { service, method, payload, timeoutNano, metadata } = fromBinary(RequestSchema, bytes);
      const pairs = metadata.flatMap((one) => [one.key, one.value]);
      return { service, method, payload: toHex(payload), timeoutNano, metadata: pairs };
    } catch {
      return undefined;
    }
  },
  twin(bytes) {
    const parsed = twin.read(bytes, requestFields);
    const view = parsed === undefined ? undefined : {
      service: parsed.service ?? "",
      method: parsed.method ?? "",
      payload: hexOf(parsed.payload),
      timeoutNano: parsed.timeoutNano ?? 0n,
      metadata: pairsOf(parsed.metadata),
    };
    return { view, leniencies: twin.leniencies };
  },
};

export const responseKind: Kind = {
  name: "response",
  ours: (bytes) =>
    placed(bytes, (buffer, start, end) => {
      const reader = responseReader;
      if (!reader.read(buffer, start, end)) return undefined;
      const { status, extensions } = reader;
      return {
        payload: toHex(buffer.subarray(reader.payloadStart, reader.payloadEnd)),
        status: status === undefined ? [] : [
          status.code,
          status.message,
          ...status.details.flatMap((one) => [one.typeUrl, toHex(one.value)]),
        ],
        extensions: extensions === undefined
          ? []
          : [extensions.version, extensions.windowBytes, ...extensions.metadata],
      };
    }),
  library(bytes) {
    try {
      const { payload, status, extensions } = fromBinary(ResponseSchema, bytes);
      return {
        payload: toHex(payload),
        // Code 0 is OK, whatever stands beside it.
        status: status === undefined || status.code === 0 ? [] : [
          status.code,
          status.message,
          ...status.details.flatMap((one) => [one.typeUrl, toHex(one.value)]),
        ],
        extensions: extensions === undefined ? [] : [
          extensions.version,
          extensions.windowBytes,
          ...extensions.metadata.flatMap((one) => [one.key, one.value]),
        ],
      };
    } catch {
      return undefined;
    }
  },
  twin(bytes) {
    const parsed = twin.read(bytes, responseFields);
    if (parsed === undefined) return { view: undefined, leniencies: twin.leniencies };
    const status = parsed.status as Parsed | undefined;
    const extensions = parsed.extensions as Parsed | undefined;
    const view = {
      payload: hexOf(parsed.payload),
      status: status === undefined || (status.code ?? 0) === 0 ? [] : [
        status.code,
        status.message ?? "",
        ...((status.details ?? []) as Parsed[]).flatMap((
          one,
        ) => [one.typeUrl ?? "", hexOf(one.value)]),
      ],
      extensions: extensions === undefined ? [] : [
        extensions.version ?? 0,
        extensions.windowBytes ?? 0,
        ...pairsOf(extensions.metadata),
      ],
    };
    return { view, leniencies: twin.leniencies };
  },
};

function hexOf(value: unknown): string {
  return value === undefined ? "" : toHex(value as Uint8Array);
}

function pairsOf(value: unknown): unknown[] {
  return ((value ?? []) as Parsed[]).flatMap((one) => [one.key ?? "", one.value ?? ""]);
}
