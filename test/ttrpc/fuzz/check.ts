/** What must hold whatever the peer sends. */

/** A broken promise; its message says which. */
export class FuzzFailure extends Error {
  override name = "FuzzFailure";
}

export function must(condition: boolean, what: string | (() => string)): asserts condition {
  if (!condition) throw new FuzzFailure(typeof what === "string" ? what : what());
}

export interface OutFrame {
  readonly id: number;
  readonly type: number;
  readonly flags: number;
  readonly length: number;
  /** Where in the connection's whole output it begins. */
  readonly position: number;
}

/** Reads what a machine writes, which must be whole valid frames whatever came in. */
export class OutputReader {
  readonly #lengthMax: number;
  readonly #found: (frame: OutFrame) => void;
  #buffer: Uint8Array = new Uint8Array(4096);
  #length = 0;
  #position = 0;

  constructor(lengthMax: number, found: (frame: OutFrame) => void) {
    this.#lengthMax = lengthMax;
    this.#found = found;
  }

  /** Bytes of a frame that is not whole yet. */
  get rest(): number {
    return this.#length;
  }

  push(bytes: Uint8Array): void {
    if (this.#length + bytes.length > this.#buffer.length) {
      const grown = new Uint8Array((this.#length + bytes.length) * 2);
      grown.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = grown;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
    let at = 0;
    const view = new DataView(this.#buffer.buffer);
    while (this.#length - at >= 10) {
      const length = view.getUint32(at);
      must(length <= this.#lengthMax, () => `a frame of ${length} bytes was written`);
      if (this.#length - at < 10 + length) break;
      this.#found({
        id: view.getUint32(at + 4),
        type: this.#buffer[at + 8],
        flags: this.#buffer[at + 9],
        length,
        position: this.#position + at,
      });
      at += 10 + length;
    }
    this.#position += at;
    this.#buffer.copyWithin(0, at, this.#length);
    this.#length -= at;
  }
}

/** What one session did; sums over sessions show what the fuzzer reaches. */
export interface Reached {
  frames: number;
  calls: number;
  messages: number;
  failed: number;
  refused: number;
  broken: number;
  agreed: number;
  stalled: number;
  limits: number;
  resets: number;
  /** Answers that had to wait for room. */
  kept: number;
}

export function nothingReached(): Reached {
  return {
    frames: 0,
    calls: 0,
    messages: 0,
    failed: 0,
    refused: 0,
    broken: 0,
    agreed: 0,
    stalled: 0,
    limits: 0,
    resets: 0,
    kept: 0,
  };
}
