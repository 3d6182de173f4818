/**
 * Bytes that arrived and were not read: handed out as a kernel does it, several packets in one
 * piece, or, as the split fault wants it, in pieces down to single bytes.
 */
import type { World } from "./world.ts";

/** The most bytes of one `data` callback, a kernel's usual read. */
const chunkBytesMax = 64 * 1024;
/** Half of the cuts leave no more than this: headers break there. */
const smallCutBytesMax = 8;

export class ReceiveQueue {
  readonly #world: World;
  #parts: Uint8Array[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  get bytes(): number {
    let bytes = 0;
    for (const part of this.#parts) bytes += part.length;
    return bytes;
  }

  add(parts: readonly Uint8Array[]): void {
    for (const part of parts) this.#parts.push(part);
  }

  clear(): void {
    this.#parts = [];
  }

  /** The next piece; there must be one. Its memory belongs to nobody else. */
  take(): Uint8Array {
    const whole = this.#merge();
    const bytes = this.#cut(Math.min(whole.length, chunkBytesMax));
    if (bytes === whole.length) {
      this.#parts.shift();
      return whole;
    }
    this.#parts[0] = whole.subarray(bytes);
    return whole.subarray(0, bytes);
  }

  /** Makes the first parts one, as far as they fit into one read. */
  #merge(): Uint8Array {
    const parts = this.#parts;
    let count = 1;
    let bytes = parts[0].length;
    while (count < parts.length && bytes + parts[count].length <= chunkBytesMax) {
      bytes += parts[count++].length;
    }
    if (count === 1) return parts[0];
    const whole = new Uint8Array(bytes);
    let at = 0;
    for (let index = 0; index < count; index++) {
      whole.set(parts[index], at);
      at += parts[index].length;
    }
    parts.splice(0, count, whole);
    return whole;
  }

  #cut(most: number): number {
    const { faults, network, coverage } = this.#world;
    if (faults.splitChance === 0) return most;
    const random = network.random.split;
    let bytes = most;
    while (bytes > 1 && random.chance(faults.splitChance)) {
      coverage.fault("split");
      bytes = random.chance(0.5)
        ? Math.min(bytes - 1, random.between(1, smallCutBytesMax))
        : random.between(1, bytes - 1);
    }
    return bytes;
  }
}
