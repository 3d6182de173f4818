/**
 * Copies of small messages, cut from shared slabs. A chunk is only valid while it is handed over,
 * so every message needs a copy; one array of its own for each costs more than the copy, and the
 * protobuf library then pays again for its DataView on it (together a fifth of a small call).
 *
 * A message that is kept keeps its slab: at most {@link slabBytes}. Whoever stores bytes for long
 * copies them.
 */
export const slabBytes = 8192;
/** Larger messages get an array of their own. */
const messageBytesMax = 2048;
/** Below this a loop is faster than a view and `set`. */
const loopBytesMax = 96;

export class Slab {
  #buffer: ArrayBuffer = new ArrayBuffer(0);
  #bytes: Uint8Array = new Uint8Array(0);
  #used = 0;

  /** A copy of `source[start, end)`. */
  copy(source: Uint8Array, start: number, end: number): Uint8Array {
    const length = end - start;
    if (length > messageBytesMax) return source.slice(start, end);
    if (this.#used + length > this.#bytes.length) {
      this.#buffer = new ArrayBuffer(slabBytes);
      this.#bytes = new Uint8Array(this.#buffer);
      this.#used = 0;
    }
    const at = this.#used;
    this.#used += length;
    if (length <= loopBytesMax) {
      const bytes = this.#bytes;
      for (let from = start, to = at; from < end; from++, to++) bytes[to] = source[from];
    } else {
      this.#bytes.set(source.subarray(start, end), at);
    }
    return new Uint8Array(this.#buffer, at, length);
  }
}
