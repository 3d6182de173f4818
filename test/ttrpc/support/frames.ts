/**
 * Frames and envelopes made and read without the code under test: headers with a DataView, and
 * envelopes with the protobuf library.
 */
import assert from "node:assert/strict";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "npm:@bufbuild/protobuf@2.17.0";
import { concatBytes, fromHex, toHex } from "../../../src/base/bytes.ts";
import {
  RequestSchema,
  type Response,
  ResponseSchema,
} from "../../../src/gen/covey/rpc/v1/rpc_pb.ts";

export interface Frame {
  readonly id: number;
  readonly type: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

export const none: Uint8Array = new Uint8Array(0);

export const headerBytes = 10;

/** A frame's bytes; `length` lies about the data when given. */
export function frame(
  id: number,
  type: number,
  flags: number,
  data: Uint8Array = none,
  length: number = data.length,
): Uint8Array {
  const bytes = new Uint8Array(headerBytes + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length);
  view.setUint32(4, id);
  bytes[8] = type;
  bytes[9] = flags;
  bytes.set(data, headerBytes);
  return bytes;
}

/** Data 05, the close without a message. */
export function close(id: number): Uint8Array {
  return frame(id, 3, 5);
}

/** Data 00, one message. */
export function data(id: number, payload: Uint8Array = none): Uint8Array {
  return frame(id, 3, 0, payload);
}

export type RequestInit = MessageInitShape<typeof RequestSchema>;
export type ResponseInit = MessageInitShape<typeof ResponseSchema>;

/** A Request frame. */
export function request(id: number, flags: number, init: RequestInit): Uint8Array {
  return frame(id, 1, flags, requestData(init));
}

export function requestData(init: RequestInit): Uint8Array {
  return toBinary(RequestSchema, create(RequestSchema, init));
}

/** A Response frame; without arguments the OK of an empty message. */
export function response(id: number, init: ResponseInit = {}): Uint8Array {
  return frame(id, 2, 0, responseData(init));
}

export function responseData(init: ResponseInit): Uint8Array {
  return toBinary(ResponseSchema, create(ResponseSchema, init));
}

export function readRequest(frame: Frame): MessageShape<typeof RequestSchema> {
  assert.equal(frame.type, 1);
  return fromBinary(RequestSchema, frame.data);
}

export function readResponse(frame: Frame): Response {
  assert.equal(frame.type, 2);
  return fromBinary(ResponseSchema, frame.data);
}

/** The status code of a Response frame, 0 for OK. */
export function codeOf(frame: Frame): number {
  return readResponse(frame).status?.code ?? 0;
}

export function pack<S extends DescMessage>(schema: S, init: MessageInitShape<S>): Uint8Array {
  return toBinary(schema, create(schema, init));
}

/** Cuts bytes into frames and keeps what is not whole yet. */
export class FrameParser {
  #rest: Uint8Array = none;

  get rest(): number {
    return this.#rest.length;
  }

  push(bytes: Uint8Array): Frame[] {
    const frames: Frame[] = [];
    let all = this.#rest.length === 0 ? bytes.slice() : concatBytes([this.#rest, bytes]);
    while (all.length >= headerBytes) {
      const view = new DataView(all.buffer, all.byteOffset);
      const length = view.getUint32(0);
      if (all.length < headerBytes + length) break;
      frames.push({
        id: view.getUint32(4),
        type: all[8],
        flags: all[9],
        data: all.slice(headerBytes, headerBytes + length),
      });
      all = all.subarray(headerBytes + length);
    }
    this.#rest = all.slice();
    return frames;
  }
}

/** The frames of bytes that hold nothing else. */
export function parseFrames(bytes: Uint8Array): Frame[] {
  const parser = new FrameParser();
  const frames = parser.push(bytes);
  assert.equal(parser.rest, 0, "the bytes end inside a frame");
  return frames;
}

/** `0000000a 00000001 0305 …`: a frame for people and for exact comparison. */
export function show(frame: Frame): string {
  const bytes = toHex(frameBytes(frame));
  const head = `${bytes.slice(0, 8)} ${bytes.slice(8, 16)} ${bytes.slice(16, 20)}`;
  return frame.data.length === 0 ? head : `${head} ${bytes.slice(20)}`;
}

export function frameBytes(frame_: Frame): Uint8Array {
  return frame(frame_.id, frame_.type, frame_.flags, frame_.data);
}

/** Bytes of hexadecimal text with any spacing. */
export function hex(text: string): Uint8Array {
  const bytes = fromHex(text);
  assert.ok(bytes !== undefined, `${text} is hexadecimal`);
  return bytes;
}

/** Bytes that are told apart by their position. */
export function pattern(length: number, seed = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = (at * 31 + (at >>> 8) * 7 + seed) & 255;
  return bytes;
}
