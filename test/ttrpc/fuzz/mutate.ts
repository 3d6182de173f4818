/** Frames made cheaply, and what can be wrong with them. */
import type { Prng } from "../../../src/base/prng.ts";

const headerBytes = 10;

/** A frame of random data; types and flags as given. */
export function makeFrame(
  id: number,
  type: number,
  flags: number,
  data: Uint8Array,
): Uint8Array {
  const frame = new Uint8Array(headerBytes + data.length);
  writeUint32(frame, 0, data.length);
  writeUint32(frame, 4, id);
  frame[8] = type;
  frame[9] = flags;
  frame.set(data, headerBytes);
  return frame;
}

function writeUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

export function randomBytes(random: Prng, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  random.fill(bytes);
  return bytes;
}

/** A length that is usually small and now and then around a limit. */
export function randomLength(random: Prng, limit: number): number {
  switch (random.below(8)) {
    case 0:
      return 0;
    case 1:
      return random.between(limit - 20, limit + 20);
    case 2:
      return random.below(limit);
    default:
      return random.below(40);
  }
}

const mutations: readonly ((random: Prng, frame: Uint8Array) => Uint8Array)[] = [
  // The stream goes out of step.
  (random, frame) => frame.subarray(0, random.below(frame.length)),
  (random, frame) => frame.subarray(random.below(frame.length)),
  (random) => randomBytes(random, random.between(1, 60)),
  (random, frame) => {
    writeUint32(frame, 0, random.pick([0, 1, 0x7fffffff, 0xffffffff, random.next(), 1 << 24]));
    return frame;
  },
  // It stays in step.
  (random, frame) => {
    writeUint32(frame, 4, random.pick([0, 1, 2, 3, 0xffffffff, 0x80000000, random.below(80)]));
    return frame;
  },
  (random, frame) => {
    frame[8] = random.pick([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255]);
    return frame;
  },
  (random, frame) => {
    frame[9] = random.below(256);
    return frame;
  },
  (random, frame) => {
    if (frame.length > headerBytes) {
      frame[random.between(headerBytes, frame.length - 1)] = random.below(256);
    }
    return frame;
  },
  (random, frame) => {
    // The data is cut, and the length tells so.
    const length = random.below(frame.length - headerBytes + 1);
    writeUint32(frame, 0, length);
    return frame.subarray(0, headerBytes + length);
  },
  (_, frame) => {
    const twice = new Uint8Array(frame.length * 2);
    twice.set(frame);
    twice.set(frame, frame.length);
    return twice;
  },
  (random, frame) => {
    // Whole random frames in front.
    const other = makeFrame(
      random.below(60),
      random.below(12),
      random.below(256),
      randomBytes(random, random.below(50)),
    );
    const both = new Uint8Array(other.length + frame.length);
    both.set(other);
    both.set(frame, other.length);
    return both;
  },
];

/** Mutations that leave the stream in step begin here. */
const inStep = 4;

/** Does something to a frame. Those that break the stream are rare: nothing comes after them. */
export function mutate(random: Prng, frame: Uint8Array): Uint8Array {
  const first = random.chance(0.03) ? 0 : inStep;
  return mutations[random.between(first, mutations.length - 1)](random, frame);
}

/** Bytes that were made and not fed yet, cut into chunks of odd sizes. */
export class Feeder {
  #parts: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }

  /** The next chunk: a byte, a few, or all there is. */
  chunk(random: Prng): Uint8Array {
    const size = random.chance(0.6) ? this.#length : random.between(1, random.pick([1, 12, 200]));
    const chunk = new Uint8Array(Math.min(size, this.#length));
    for (let at = 0; at < chunk.length;) {
      const first = this.#parts[0];
      const part = first.subarray(0, chunk.length - at);
      chunk.set(part, at);
      at += part.length;
      if (part.length < first.length) this.#parts[0] = first.subarray(part.length);
      else this.#parts.shift();
    }
    this.#length -= chunk.length;
    return chunk;
  }
}
