/**
 * Frames as containerd's ttrpc puts them on the wire (PROTOCOL.md and channel.go upstream):
 * big-endian u32 data length, u32 stream id, u8 type, u8 flags, then the data.
 */
import { assert } from "../../base/assert.ts";

export const frameHeaderBytes = 10;

/**
 * Types 1 to 3 are ttrpc's. The others are covey's extensions, which are never sent to a peer that
 * has not agreed to them (extensions.ts); a receiver ignores every type that it does not know.
 */
export const FrameType = {
  request: 1,
  response: 2,
  data: 3,
  ping: 4,
  pong: 5,
  reset: 6,
  window: 7,
  goaway: 8,
  metadata: 9,
} as const;

/** Flags describe the receiver's view of the sender (PROTOCOL.md upstream). */
export const Flag = {
  /** The sender sends nothing more on this stream. */
  remoteClosed: 0x01,
  /** The sender will send Data frames on this stream. */
  remoteOpen: 0x02,
  /** The frame carries no message, not even an empty one. */
  noData: 0x04,
} as const;

/** The limit that both known implementations have built in: 4 MiB, inclusive. */
export const messageBytesDefault = 4 << 20;

/** The first length byte is reserved as zero: this length and more ends the connection. */
export const frameLengthReserved = 1 << 24;

/** Writes a frame's header at `at`. */
export function writeHeader(
  target: Uint8Array,
  at: number,
  length: number,
  streamId: number,
  type: number,
  flags: number,
): void {
  assert(length >= 0 && length < frameLengthReserved, "a frame's length fits its three bytes");
  writeUint32(target, at, length);
  writeUint32(target, at + 4, streamId);
  target[at + 8] = type;
  target[at + 9] = flags;
}

/** What a {@link FrameDecoder} finds. Each method is called in wire order. */
export interface FrameSink {
  /** One whole frame; its data is `buffer[start, end)`, valid only during the call. */
  frame(
    streamId: number,
    type: number,
    flags: number,
    buffer: Uint8Array,
    start: number,
    end: number,
  ): void;
  /** A frame above the limit, told as soon as its header is there; its data is discarded. */
  oversized(streamId: number, type: number, flags: number, length: number): void;
  /** The peer cannot be followed any further; nothing comes after this. */
  broken(reason: string): void;
}

const none = new Uint8Array(0);

/** Smallest buffer for a frame that is split over chunks. */
const partialBytesMin = 512;

/**
 * Cuts a byte stream into frames. Frames that lie whole in one chunk are handed over in place; one
 * that is split is gathered in a buffer that grows with the bytes that really came, so that a
 * declared length costs nothing by itself.
 */
export class FrameDecoder {
  readonly #sink: FrameSink;
  readonly #lengthMax: number;
  /** Header and data of the split frame so far. */
  #partial: Uint8Array = none;
  #partialLength = 0;
  /** Data bytes of an oversized frame that are still to be thrown away. */
  #discard = 0;
  #stopped = false;

  constructor(sink: FrameSink, lengthMax: number) {
    assert(lengthMax > 0 && lengthMax < frameLengthReserved, "the message limit is below 16 MiB");
    this.#sink = sink;
    this.#lengthMax = lengthMax;
  }

  /** Whether the stream stands inside a frame: an end now would cut it. */
  get inFrame(): boolean {
    return this.#partialLength > 0 || this.#discard > 0;
  }

  /** No callback follows, whatever is pushed. */
  stop(): void {
    this.#stopped = true;
    this.#partial = none;
    this.#partialLength = 0;
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    const end = chunk.length;
    while (at < end && !this.#stopped) {
      if (this.#discard > 0) {
        const skipped = this.#discard < end - at ? this.#discard : end - at;
        this.#discard -= skipped;
        at += skipped;
      } else if (this.#partialLength > 0) {
        at = this.#continue(chunk, at);
      } else if (end - at < frameHeaderBytes) {
        this.#keep(chunk, at, end, frameHeaderBytes);
        return;
      } else {
        const length = readUint32(chunk, at);
        const dataStart = at + frameHeaderBytes;
        if (length > this.#lengthMax) {
          this.#tooLong(chunk, at, length);
          at = dataStart;
        } else if (dataStart + length <= end) {
          this.#deliver(chunk, at, dataStart + length);
          at = dataStart + length;
        } else {
          this.#keep(chunk, at, end, frameHeaderBytes + length);
          return;
        }
      }
    }
  }

  /** Adds to the split frame; returns where in the chunk the next thing begins. */
  #continue(chunk: Uint8Array, at: number): number {
    if (this.#partialLength < frameHeaderBytes) {
      const taken = min(frameHeaderBytes - this.#partialLength, chunk.length - at);
      this.#keep(chunk, at, at + taken, frameHeaderBytes);
      if (this.#partialLength < frameHeaderBytes) return at + taken;
      const length = readUint32(this.#partial, 0);
      if (length > this.#lengthMax) {
        const header = this.#partial;
        this.#release();
        this.#tooLong(header, 0, length);
      } else if (length === 0) {
        this.#finishPartial(frameHeaderBytes);
      }
      return at + taken;
    }
    const whole = frameHeaderBytes + readUint32(this.#partial, 0);
    const taken = min(whole - this.#partialLength, chunk.length - at);
    this.#keep(chunk, at, at + taken, whole);
    if (this.#partialLength === whole) this.#finishPartial(whole);
    return at + taken;
  }

  #finishPartial(whole: number): void {
    const buffer = this.#partial;
    this.#release();
    this.#deliver(buffer, 0, whole);
  }

  #release(): void {
    this.#partial = none;
    this.#partialLength = 0;
  }

  /** Appends to the split frame, growing at most to its whole size and by doubling. */
  #keep(chunk: Uint8Array, from: number, to: number, whole: number): void {
    const length = this.#partialLength + (to - from);
    if (length > this.#partial.length) {
      let size = this.#partial.length * 2;
      if (size < partialBytesMin) size = partialBytesMin;
      if (size > whole) size = whole;
      if (size < length) size = length;
      const grown = new Uint8Array(size);
      grown.set(this.#partial.subarray(0, this.#partialLength));
      this.#partial = grown;
    }
    this.#partial.set(chunk.subarray(from, to), this.#partialLength);
    this.#partialLength = length;
  }

  #deliver(buffer: Uint8Array, at: number, end: number): void {
    this.#sink.frame(
      readUint32(buffer, at + 4),
      buffer[at + 8],
      buffer[at + 9],
      buffer,
      at + frameHeaderBytes,
      end,
    );
  }

  #tooLong(buffer: Uint8Array, at: number, length: number): void {
    if (length >= frameLengthReserved) {
      this.stop();
      this.#sink.broken(`frame length ${length} uses the reserved first byte`);
      return;
    }
    this.#discard = length;
    this.#sink.oversized(readUint32(buffer, at + 4), buffer[at + 8], buffer[at + 9], length);
  }
}

function min(a: number, b: number): number {
  return a < b ? a : b;
}

/** An unsigned number in network order. */
export function readUint32(buffer: Uint8Array, at: number): number {
  return ((buffer[at] << 24) | (buffer[at + 1] << 16) | (buffer[at + 2] << 8) | buffer[at + 3]) >>>
    0;
}

function writeUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}
