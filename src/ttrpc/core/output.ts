/**
 * Bytes on their way to the socket: one contiguous buffer per connection that frames are encoded
 * into and the driver writes from. An empty output holds no memory: its buffer goes back to a
 * pool that all connections share.
 */
import { assert } from "../../base/assert.ts";

const none = new Uint8Array(0);

/** A grown buffer that is kept for reuse is at most this large. */
const grownBytesMax = 1 << 20;

/** Buffers of one size, kept for reuse up to a number, and one that had to grow. */
export class BufferPool {
  readonly bufferBytes: number;
  readonly #free: Uint8Array[] = [];
  readonly #freeMax: number;
  #grown: Uint8Array | undefined = undefined;

  constructor(bufferBytes: number, freeMax: number) {
    this.bufferBytes = bufferBytes;
    this.#freeMax = freeMax;
  }

  /** A buffer of at least this many bytes. */
  take(bytes: number): Uint8Array {
    if (bytes <= this.bufferBytes) return this.#free.pop() ?? new Uint8Array(this.bufferBytes);
    const grown = this.#grown;
    if (grown === undefined || grown.length < bytes) return new Uint8Array(bytes);
    this.#grown = undefined;
    return grown;
  }

  give(buffer: Uint8Array): void {
    if (buffer.length === this.bufferBytes) {
      if (this.#free.length < this.#freeMax) this.#free.push(buffer);
    } else if (buffer.length <= grownBytesMax && buffer.length > (this.#grown?.length ?? 0)) {
      this.#grown = buffer;
    }
  }
}

export class Output {
  readonly #pool: BufferPool;
  /** The unwritten bytes are `bytes[start, end)`. */
  bytes: Uint8Array = none;
  start = 0;
  end = 0;
  /** The largest frame so far: one always fits, whatever the queue's limit. */
  largestBytes = 0;
  /** Bytes consumed since the connection opened: how far the peer can have read at most. */
  consumedTotal = 0;

  constructor(pool: BufferPool) {
    this.#pool = pool;
  }

  get queuedBytes(): number {
    return this.end - this.start;
  }

  /** Position in the connection's whole output at which the next byte will stand. */
  get position(): number {
    return this.consumedTotal + (this.end - this.start);
  }

  /** Makes room for `length` bytes that the caller writes at once; returns where they begin. */
  reserve(length: number): number {
    if (this.end + length > this.bytes.length) this.#makeRoom(length);
    const at = this.end;
    this.end += length;
    if (length > this.largestBytes) this.largestBytes = length;
    return at;
  }

  /** Tells that the socket took `length` bytes. */
  consume(length: number): void {
    assert(length <= this.end - this.start, "the socket cannot take more than was queued");
    this.start += length;
    this.consumedTotal += length;
    if (this.start === this.end) this.release();
  }

  /** Drops what is queued and gives the buffer back. */
  release(): void {
    if (this.bytes !== none) this.#pool.give(this.bytes);
    this.bytes = none;
    this.start = 0;
    this.end = 0;
  }

  #makeRoom(length: number): void {
    const queued = this.end - this.start;
    const needed = queued + length;
    if (needed <= this.bytes.length) {
      this.bytes.copyWithin(0, this.start, this.end);
    } else {
      const doubled = this.bytes.length * 2;
      const grown = this.#pool.take(doubled > needed ? doubled : needed);
      grown.set(this.bytes.subarray(this.start, this.end));
      if (this.bytes !== none) this.#pool.give(this.bytes);
      this.bytes = grown;
    }
    this.start = 0;
    this.end = queued;
  }
}
