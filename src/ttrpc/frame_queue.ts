/**
 * The sending half of a stream between two nodes: frames wait here until the stream takes them. What
 * goes beyond the bound is refused: consensus can do without any message, and memory cannot.
 */
export class FrameQueue<Frame> implements AsyncIterableIterator<Frame> {
  readonly #bytesMax: () => number;
  #frames: { readonly frame: Frame; readonly bytes: number }[] = [];
  #bytes = 0;
  /** Frames that may go; the others are held back. */
  #free = Infinity;
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
    if (this.#waiting !== undefined && this.#free > 0) {
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

  /** What comes from now on is held back until {@link release}. */
  hold(): void {
    this.#free = Math.min(this.#free, this.#frames.length);
  }

  release(): void {
    this.#free = Infinity;
    const resolve = this.#waiting;
    if (resolve === undefined || this.#frames.length === 0) return;
    this.#waiting = undefined;
    resolve({ done: false, value: this.#shift()! });
  }

  /** The frames that wait, for another queue. */
  take(): readonly { readonly frame: Frame; readonly bytes: number }[] {
    const frames = this.#frames;
    this.#frames = [];
    this.#bytes = 0;
    return frames;
  }

  /** The stream ends after what waits, held back or not. */
  end(): void {
    this.#ended = true;
    this.release();
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  next(): Promise<IteratorResult<Frame>> {
    const frame = this.#free > 0 ? this.#shift() : undefined;
    if (frame !== undefined) return Promise.resolve({ done: false, value: frame });
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

  #shift(): Frame | undefined {
    const first = this.#frames.shift();
    if (first === undefined) return undefined;
    this.#bytes -= first.bytes;
    this.#free--;
    return first.frame;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
