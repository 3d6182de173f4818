/**
 * The Request and Response messages around every call, by hand: encoding them through a general
 * protobuf library would cost more than the rest of a call. `proto/covey/rpc/v1/rpc.proto` is
 * their definition, and the tests compare this codec with the library on random messages.
 */
import { concatBytes, decodeText, encodeText } from "../../base/bytes.ts";
import type { ErrorDetail } from "../../base/error.ts";
import {
  copyInto,
  varint64Bytes,
  varintBytes,
  WireCursor,
  writeVarint,
  writeVarint64,
} from "./wire.ts";

/** A call's outcome other than OK, with the shape of google.rpc.Status. */
export interface Status {
  readonly code: number;
  readonly message: string;
  readonly details: readonly ErrorDetail[];
}

/** What a covey server adds to a response; see `Extensions` in rpc.proto. */
export interface ResponseExtensions {
  readonly version: number;
  readonly windowBytes: number;
  /** Keys and values in turn. */
  readonly metadata: readonly string[];
}

const none = new Uint8Array(0);

/** An empty pair takes two bytes on the wire and thirty times as much in memory. */
const pairsMax = 1024;

/** The bytes of fields 1 and 2 of every request to one method. */
export function requestPrefix(service: string, method: string): Uint8Array {
  return concatBytes([textField(1, service), textField(2, method)]);
}

/** The encoded metadata fields (5) of a request; keys and values in turn. */
export function requestMetadata(pairs: readonly string[]): Uint8Array {
  return metadataFields(5, pairs);
}

/** Length of a request. A timeout of 0 in both halves means that there is none. */
export function requestBytes(
  prefix: Uint8Array,
  payloadLength: number,
  timeoutLow: number,
  timeoutHigh: number,
  metadata: Uint8Array,
): number {
  let length = prefix.length + metadata.length;
  if (payloadLength > 0) length += 1 + varintBytes(payloadLength) + payloadLength;
  if ((timeoutLow | timeoutHigh) !== 0) length += 1 + varint64Bytes(timeoutLow, timeoutHigh);
  return length;
}

/**
 * Writes a request of {@link requestBytes} bytes in field order, as Go does. Its message is
 * `payload[payloadStart, payloadEnd)`.
 */
export function writeRequest(
  target: Uint8Array,
  start: number,
  prefix: Uint8Array,
  payload: Uint8Array,
  timeoutLow: number,
  timeoutHigh: number,
  metadata: Uint8Array,
  payloadStart = 0,
  payloadEnd: number = payload.length,
): void {
  copyInto(target, start, prefix, 0, prefix.length);
  let at = start + prefix.length;
  const length = payloadEnd - payloadStart;
  if (length > 0) {
    target[at++] = 0x1a;
    at = writeVarint(target, at, length);
    copyInto(target, at, payload, payloadStart, payloadEnd);
    at += length;
  }
  if ((timeoutLow | timeoutHigh) !== 0) {
    target[at++] = 0x20;
    at = writeVarint64(target, at, timeoutLow, timeoutHigh);
  }
  if (metadata.length > 0) target.set(metadata, at);
}

/** Length of an OK response without extensions: an empty payload makes a zero-length frame. */
export function okResponseBytes(payloadLength: number): number {
  return payloadLength === 0 ? 0 : 1 + varintBytes(payloadLength) + payloadLength;
}

export function writeOkResponse(
  target: Uint8Array,
  start: number,
  payload: Uint8Array,
  payloadStart = 0,
  payloadEnd: number = payload.length,
): void {
  if (payloadEnd === payloadStart) return;
  target[start] = 0x12;
  const at = writeVarint(target, start + 1, payloadEnd - payloadStart);
  copyInto(target, at, payload, payloadStart, payloadEnd);
}

/** A whole response with a status; OK is left out, as Go does. */
export function encodeStatus(status: Status): Uint8Array {
  const parts: Uint8Array[] = [];
  if (status.code !== 0) parts.push(varintField(1, status.code));
  if (status.message !== "") parts.push(textField(2, status.message));
  for (const detail of status.details) {
    const value = detail.value.length === 0 ? none : bytesField(2, detail.value);
    parts.push(bytesField(3, concatBytes([textField(1, detail.typeUrl), value])));
  }
  return bytesField(1, concatBytes(parts));
}

/** Field 100 of a response, to be appended to it. */
export function encodeExtensions(extensions: ResponseExtensions): Uint8Array {
  const parts: Uint8Array[] = [];
  if (extensions.version !== 0) parts.push(varintField(1, extensions.version));
  if (extensions.windowBytes !== 0) parts.push(varintField(2, extensions.windowBytes));
  if (extensions.metadata.length > 0) parts.push(metadataFields(3, extensions.metadata));
  return bytesField(100, concatBytes(parts));
}

/** The data of a metadata frame: the same message as field 100, without the field around it. */
export function encodeMetadataFrame(pairs: readonly string[]): Uint8Array {
  return metadataFields(3, pairs);
}

function metadataFields(field: number, pairs: readonly string[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < pairs.length; at += 2) {
    parts.push(
      bytesField(field, concatBytes([textField(1, pairs[at]), textField(2, pairs[at + 1])])),
    );
  }
  return concatBytes(parts);
}

function varintField(field: number, value: number): Uint8Array {
  const out = new Uint8Array(15);
  let at = writeVarint(out, 0, (field << 3) >>> 0);
  // A negative int32 is sign-extended to 64 bits on the wire.
  at = writeVarint64(out, at, value | 0, value < 0 ? -1 : 0);
  return out.subarray(0, at);
}

function textField(field: number, text: string): Uint8Array {
  return text === "" ? none : bytesField(field, encodeText(text));
}

function bytesField(field: number, bytes: Uint8Array): Uint8Array {
  const tag = (field << 3) | 2;
  const out = new Uint8Array(varintBytes(tag) + varintBytes(bytes.length) + bytes.length);
  out.set(bytes, writeVarint(out, writeVarint(out, 0, tag), bytes.length));
  return out;
}

/**
 * Reads requests in place. One reader serves all connections of a server: its fields hold the
 * last request until the next one is read, and never outlive the frame's callback.
 */
export class RequestReader {
  readonly #cursor: WireCursor = new WireCursor();
  readonly #inner: WireCursor = new WireCursor();
  serviceStart = 0;
  serviceEnd = 0;
  methodStart = 0;
  methodEnd = 0;
  payloadStart = 0;
  payloadEnd = 0;
  timeoutLow = 0;
  timeoutHigh = 0;
  /** Keys and values in turn, as received; undefined when there are none. */
  metadata: string[] | undefined = undefined;
  /** The request was given up for its metadata: there are more pairs than {@link pairsMax}. */
  hasTooManyPairs = false;

  /** False when the bytes are no Request: bad wire format, or text that is not UTF-8. */
  read(buffer: Uint8Array, start: number, end: number): boolean {
    this.serviceStart = this.serviceEnd = start;
    this.methodStart = this.methodEnd = start;
    this.payloadStart = this.payloadEnd = start;
    this.timeoutLow = this.timeoutHigh = 0;
    this.metadata = undefined;
    this.hasTooManyPairs = false;
    const cursor = this.#cursor;
    cursor.open(buffer, start, end);
    while (cursor.next()) {
      if (cursor.type === 2) {
        if (cursor.field === 1) {
          if (!isText(buffer, cursor.start, cursor.end)) return false;
          this.serviceStart = cursor.start;
          this.serviceEnd = cursor.end;
        } else if (cursor.field === 2) {
          if (!isText(buffer, cursor.start, cursor.end)) return false;
          this.methodStart = cursor.start;
          this.methodEnd = cursor.end;
        } else if (cursor.field === 3) {
          this.payloadStart = cursor.start;
          this.payloadEnd = cursor.end;
        } else if (cursor.field === 5) {
          this.metadata ??= [];
          if (this.metadata.length >= pairsMax * 2) {
            this.hasTooManyPairs = true;
            return false;
          }
          if (!readPair(this.#inner, buffer, cursor.start, cursor.end, this.metadata)) return false;
        }
      } else if (cursor.field === 4 && cursor.type === 0) {
        this.timeoutLow = cursor.low;
        this.timeoutHigh = cursor.high;
      }
    }
    return !cursor.failed;
  }
}

/** Reads responses in place, like {@link RequestReader}. */
export class ResponseReader {
  readonly #cursor: WireCursor = new WireCursor();
  readonly #inner: WireCursor = new WireCursor();
  readonly #pair: WireCursor = new WireCursor();
  payloadStart = 0;
  payloadEnd = 0;
  /** Undefined for OK, whether it was left out (Go) or written as an empty status (Rust). */
  status: Status | undefined = undefined;
  extensions: ResponseExtensions | undefined = undefined;
  /** The status as far as it was read; its code may still be 0. */
  #partial: Status | undefined = undefined;

  read(buffer: Uint8Array, start: number, end: number): boolean {
    this.payloadStart = this.payloadEnd = start;
    this.status = undefined;
    this.extensions = undefined;
    this.#partial = undefined;
    const cursor = this.#cursor;
    cursor.open(buffer, start, end);
    while (cursor.next()) {
      if (cursor.type !== 2) continue;
      if (cursor.field === 2) {
        this.payloadStart = cursor.start;
        this.payloadEnd = cursor.end;
      } else if (cursor.field === 1) {
        if (!this.#readStatus(buffer, cursor.start, cursor.end)) return false;
      } else if (cursor.field === 100) {
        if (!this.#readExtensions(buffer, cursor.start, cursor.end)) return false;
      }
    }
    const partial = this.#partial as Status | undefined;
    if (partial !== undefined && partial.code !== 0) this.status = partial;
    return !cursor.failed;
  }

  /** Reads the data of a metadata frame: the message of a response's field 100. */
  readExtensions(buffer: Uint8Array, start: number, end: number): boolean {
    this.extensions = undefined;
    return this.#readExtensions(buffer, start, end);
  }

  // A message field that comes twice is merged, as protobuf demands.

  #readExtensions(buffer: Uint8Array, start: number, end: number): boolean {
    const inner = this.#inner;
    let version = this.extensions?.version ?? 0;
    let windowBytes = this.extensions?.windowBytes ?? 0;
    const metadata = this.extensions?.metadata.slice() ?? [];
    inner.open(buffer, start, end);
    while (inner.next()) {
      if (inner.field === 1 && inner.type === 0) version = inner.low >>> 0;
      else if (inner.field === 2 && inner.type === 0) windowBytes = inner.low >>> 0;
      else if (inner.field === 3 && inner.type === 2) {
        if (!readPair(this.#pair, buffer, inner.start, inner.end, metadata)) return false;
      }
    }
    this.extensions = { version, windowBytes, metadata };
    return !inner.failed;
  }

  #readStatus(buffer: Uint8Array, start: number, end: number): boolean {
    const inner = this.#inner;
    let code = this.#partial?.code ?? 0;
    let message: string | undefined = this.#partial?.message ?? "";
    const details: ErrorDetail[] = this.#partial?.details.slice() ?? [];
    inner.open(buffer, start, end);
    while (inner.next()) {
      if (inner.field === 1 && inner.type === 0) code = inner.low | 0;
      else if (inner.field === 2 && inner.type === 2) {
        message = decodeText(buffer.subarray(inner.start, inner.end));
        if (message === undefined) return false;
      } else if (inner.field === 3 && inner.type === 2) {
        if (!this.#readDetail(buffer, inner.start, inner.end, details)) return false;
      }
    }
    this.#partial = { code, message, details };
    return !inner.failed;
  }

  #readDetail(buffer: Uint8Array, start: number, end: number, into: ErrorDetail[]): boolean {
    const pair = this.#pair;
    let typeUrl: string | undefined = "";
    let value = new Uint8Array(0);
    pair.open(buffer, start, end);
    while (pair.next()) {
      if (pair.type !== 2) continue;
      if (pair.field === 1) {
        typeUrl = decodeText(buffer.subarray(pair.start, pair.end));
        if (typeUrl === undefined) return false;
      } else if (pair.field === 2) value = buffer.slice(pair.start, pair.end);
    }
    into.push({ typeUrl, value });
    return !pair.failed;
  }
}

function readPair(
  cursor: WireCursor,
  buffer: Uint8Array,
  start: number,
  end: number,
  into: string[],
): boolean {
  let key: string | undefined = "";
  let value: string | undefined = "";
  cursor.open(buffer, start, end);
  while (cursor.next()) {
    if (cursor.type !== 2) continue;
    if (cursor.field === 1) key = decodeText(buffer.subarray(cursor.start, cursor.end));
    else if (cursor.field === 2) value = decodeText(buffer.subarray(cursor.start, cursor.end));
    if (key === undefined || value === undefined) return false;
  }
  into.push(key, value);
  return !cursor.failed;
}

/** ASCII, which is nearly everything, needs no decoder. */
function isText(buffer: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (buffer[at] >= 0x80) return decodeText(buffer.subarray(start, end)) !== undefined;
  }
  return true;
}
