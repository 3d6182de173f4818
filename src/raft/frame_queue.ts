/**
 * The sending half of a stream between two nodes: frames wait here until the stream takes them. What
 * goes beyond the bound is refused, because Raft can do without any message, and memory cannot.
 */
export class FrameQueue<Frame> implements AsyncIterableIterator<Frame> {
  readonly #bytesMax: () => number;
  #frames: { readonly frame: Frame; readonly bytes: number }[] = [];
  #bytes = 0;
  #waiting: ((result: IteratorResult<Frame>) => void) | undefined = undefined;
  #ended = false;

  /** The bound may change with time. */
  constructor(bytesMax: number | (() => number)) {
    this.#bytesMax = typeof bytesMax === "number" ? () => bytesMax : bytesMax;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Whether it was taken. One frame always fits. */
  push(frame: Frame, bytes: number): boolean {
    if (this.#ended) return false;
    if (this.#waiting !== undefined) {
      const resolve = this.#waiting;
      this.#waiting = undefined;
      resolve({ done: false, value: frame });
      return true;
    }
    if (this.#bytes > 0 && this.#bytes + bytes > this.#bytesMax()) return false;
    this.#frames.push({ frame, bytes });
    this.#bytes += bytes;
    return true;
  }

  /** The stream ends after what waits. */
  end(): void {
    this.#ended = true;
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  next(): Promise<IteratorResult<Frame>> {
    const first = this.#frames.shift();
    if (first !== undefined) {
      this.#bytes -= first.bytes;
      return Promise.resolve({ done: false, value: first.frame });
    }
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting = resolve);
  }

  /** The stream is over: nothing is sent any more. */
  return(): Promise<IteratorResult<Frame>> {
    this.#frames = [];
    this.#bytes = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
