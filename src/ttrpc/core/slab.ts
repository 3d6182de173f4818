/**
 * Copies of small messages, cut from shared slabs. A chunk is only valid while it is handed over,
 * so every message needs a copy; one array of its own for each costs more than the copy, and the
 * protobuf library then pays again for its DataView on it (together a fifth of a small call).
 *
 * A message that is kept keeps its slab: at most {@link slabBytes}. Whoever stores bytes for long
 * copies them.
 */
import { copyInto, copyOf } from "./wire.ts";

export const slabBytes = 8192;
/** Larger messages get an array of their own. */
const messageBytesMax = 2048;

export class Slab {
  #buffer: ArrayBuffer = new ArrayBuffer(0);
  #bytes: Uint8Array = new Uint8Array(0);
  #used = 0;

  /** A copy of `source[start, end)`. */
  copy(source: Uint8Array, start: number, end: number): Uint8Array {
    const length = end - start;
    if (length > messageBytesMax) return copyOf(source, start, end);
    if (this.#used + length > this.#bytes.length) {
      this.#buffer = new ArrayBuffer(slabBytes);
      this.#bytes = new Uint8Array(this.#buffer);
      this.#used = 0;
    }
    const at = this.#used;
    this.#used += length;
    copyInto(this.#bytes, at, source, start, end);
    return new Uint8Array(this.#buffer, at, length);
  }
}
