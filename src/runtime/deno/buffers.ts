/**
 * The buffers that reads and writes of sockets borrow, shared by all connections of a runtime.
 *
 * Deno's calls keep an array until they settle. A connection that waits for its peer therefore pins
 * one, so the smallest size is small, and many of them are cut from one slab: an array of its own
 * costs several hundred bytes beside its content.
 */

/**
 * Small enough to wait with. No size is a round number: a peer that always sends pieces of a round
 * size would fill a buffer exactly, and the next, larger one would then wait for nothing.
 */
export const smallBytes = 248;
export const mediumBytes = 2040;
const largeBytes = 16_376;
/** A frame of 64 KiB with its header goes in one piece. */
export const bufferBytesMax = 65_536 + 64;

const sizes = [smallBytes, mediumBytes, largeBytes, bufferBytesMax] as const;
/** How many free buffers of each size are kept; small ones are parts of slabs and always kept. */
const keptMax = [Number.POSITIVE_INFINITY, 512, 64, 32] as const;
const smallsPerSlab = 264;

/** Hands out buffers of a few sizes and takes them back. */
export class BufferPool {
  readonly #free: Uint8Array[][] = sizes.map(() => []);
  #slab = new Uint8Array(0);
  #slabUsed = 0;

  /** A buffer of at least `bytes`, at most {@link bufferBytesMax}; its content is arbitrary. */
  take(bytes: number): Uint8Array {
    const index = indexFor(bytes);
    const free = this.#free[index].pop();
    if (free !== undefined) return free;
    if (index > 0) return new Uint8Array(sizes[index]);
    if (this.#slabUsed + smallBytes > this.#slab.length) {
      this.#slab = new Uint8Array(smallsPerSlab * smallBytes);
      this.#slabUsed = 0;
    }
    this.#slabUsed += smallBytes;
    return this.#slab.subarray(this.#slabUsed - smallBytes, this.#slabUsed);
  }

  /** Takes back what `take` gave; the caller must not touch it afterwards. */
  give(buffer: Uint8Array): void {
    const index = indexFor(buffer.length);
    const free = this.#free[index];
    if (free.length < keptMax[index]) free.push(buffer);
  }
}

function indexFor(bytes: number): number {
  let index = 0;
  while (index < sizes.length - 1 && bytes > sizes[index]) index++;
  return index;
}
