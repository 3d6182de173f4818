/** Frames of a client that is out of its mind, for the server machine under fuzz. */
import type { Prng } from "../../../src/base/prng.ts";
import {
  requestBytes,
  requestMetadata,
  requestPrefix,
  writeRequest,
} from "../../../src/ttrpc/core/envelope.ts";
import type { ConnectionLimits } from "../../../src/ttrpc/core/limits.ts";
import { makeFrame, randomBytes, randomLength } from "./mutate.ts";

export const fuzzLimits: ConnectionLimits = {
  messageBytesMax: 2000,
  callsMax: 12,
  streamsMax: 8,
  streamQueueBytesMax: 6000,
  streamQueueMessagesMax: 40,
  queueBytesMax: 20_000,
  queueMessagesMax: 60,
  streamStallMs: 100,
};

const none = new Uint8Array(0);
/** Unary, client-streaming, server-streaming, bidirectional; then what nobody serves. */
const machinePrefixes = ["u", "c", "d", "b", "nope"].map((method) => requestPrefix("s", method));
// The last is no UTF-8.
machinePrefixes.push(
  requestPrefix("x", "u"),
  requestPrefix("", ""),
  new Uint8Array([0x0a, 1, 0xff]),
);
const metadatas = [
  none,
  none,
  none,
  requestMetadata(["k", "v", "k", ""]),
  requestMetadata(["covey-extensions", "1;window=4096"]),
  requestMetadata(["covey-extensions", "9;window=99999"]),
  requestMetadata(["covey-extensions", "nonsense"]),
];

/** What the generator knows of a call. */
export interface OpenCall {
  readonly id: number;
  /** Present on streams. */
  readonly flow?: unknown;
  readonly remoteClosed: boolean;
}

export class ClientFrames {
  readonly #random: Prng;
  /** How rarely a stream is closed: 0 to 1. */
  readonly #openness: number;
  readonly #prefixes: readonly Uint8Array[];
  #nextId = 1;

  constructor(random: Prng, openness: number, prefixes = machinePrefixes) {
    this.#random = random;
    this.#openness = openness;
    this.#prefixes = prefixes;
  }

  /** The next frame, given the calls that the server has open. */
  next(open: readonly OpenCall[]): Uint8Array {
    const random = this.#random;
    const roll = random.below(open.length === 0 ? 7 : 20);
    if (roll < 6) return this.#request();
    if (roll < 18) {
      // Mostly where it belongs, and mostly to one stream, so that queues fill up.
      const streams = open.filter((call) => call.flow !== undefined && !call.remoteClosed);
      const id = streams.length > 0 && random.chance(0.95)
        ? (random.chance(0.7) ? streams[0] : random.pick(streams)).id
        : random.below(this.#nextId + 10);
      const flags = random.chance(this.#openness) ? 0 : random.pick([5, 1, 4]);
      const length = (flags & 4) !== 0 ? 0 : randomLength(random, fuzzLimits.messageBytesMax);
      return makeFrame(id, 3, flags, randomBytes(random, length));
    }
    // Extension frames, whether or not they were agreed to.
    const type = random.pick([4, 5, 6, 7, 8, 9]);
    const id = open.length > 0 ? random.pick(open).id : 1;
    return makeFrame(id, type, 0, randomBytes(random, type === 7 ? 4 : 0));
  }

  #request(): Uint8Array {
    const random = this.#random;
    const kind = random.below(random.chance(0.95) ? 4 : this.#prefixes.length);
    const payload = randomBytes(random, kind < 3 ? randomLength(random, 1900) : 0);
    const low = random.pick([0, 0, 0, 0, 0, 0, 1, -1, 50_000_000, random.next() | 0]);
    const high = random.pick([0, 0, 0, 0, 0, 0, 0, 0, 1, -1, 0x7fffffff]);
    const metadata = random.pick(metadatas);
    const length = requestBytes(this.#prefixes[kind], payload.length, low, high, metadata);
    const data = new Uint8Array(length);
    writeRequest(data, 0, this.#prefixes[kind], payload, low, high, metadata);
    const id = random.chance(0.95) ? this.#nextId : random.below(this.#nextId + 3);
    this.#nextId += random.pick([2, 2, 2, 2, 4, 20]);
    return makeFrame(id, 1, random.pick([0, 1, 2, 6]), data);
  }
}
