/**
 * Asks JavaScriptCore to collect beside the thread. Its one request for that collects what is young
 * alone, until the room planned for the young is less than a third of the heap; planned is twice of
 * what lived, so that the heap grows to four times of it. To have everything collected sooner, a
 * buffer that nobody touches, and that so takes no memory, is held during one collection of the
 * young: the next one is of everything (tried on 1.4.5: pauses of some milliseconds, where `fullGC`
 * of `bun:jsc` stops the thread for all of it, 20 to 100).
 */
/** Everything is collected when the heap is so much of what lived after the last time, and more. */
const growthMax = 2;
const slackBytes = 24 << 20;
/** Not more often: it takes some 40 ms of another thread, and compiled code its caches. */
const fullEveryMs = 5000;
/** More than the heap and the room that is planned for the young. */
const ballastPerHeap = 5;
const ballastBytesMax = 1 << 30;

/** What is asked of the engine. */
export interface Engine {
  nowMs(): number;
  heapBytes(): number;
  /** Begins a collection beside the thread. */
  collect(): void;
  /** Memory that counts as the heap's until it is let go, and that nobody touches; may throw. */
  reserve(bytes: number): { release(): void };
  /** Calls back once the next collection is over. */
  afterCollection(callback: () => void): void;
}

export class Collector {
  readonly #engine: Engine;
  #ballast: { release(): void } | undefined = undefined;
  #fullAtMs = -Infinity;
  /** The heap when the last full collection was asked for, until what it left is known. */
  #beforeBytes = 0;
  #livedBytes = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** `all`: everything, whatever the heap's size is. */
  collect(all: boolean): void {
    // Its collection took longer than usual, or was missed.
    if (this.#ballast !== undefined) return this.#dropBallast();
    const heapBytes = this.#engine.heapBytes();
    if (this.#beforeBytes > 0) {
      this.#livedBytes = Math.min(heapBytes, this.#beforeBytes);
      this.#beforeBytes = 0;
    }
    const nowMs = this.#engine.nowMs();
    const isDue = heapBytes > this.#livedBytes * growthMax + slackBytes &&
      nowMs - this.#fullAtMs >= fullEveryMs;
    if (all || isDue) {
      this.#fullAtMs = nowMs;
      this.#holdBallast(heapBytes);
    }
    this.#engine.collect();
  }

  #holdBallast(heapBytes: number): void {
    try {
      this.#ballast = this.#engine.reserve(Math.min(heapBytes * ballastPerHeap, ballastBytesMax));
    } catch {
      // Not even room for what is never touched: the young are collected alone.
      return;
    }
    this.#beforeBytes = heapBytes;
    this.#engine.afterCollection(() => this.#dropBallast());
  }

  /** The collection of the young has seen it: now comes the one of everything. */
  #dropBallast(): void {
    const ballast = this.#ballast;
    if (ballast === undefined) return;
    this.#ballast = undefined;
    ballast.release();
    this.#engine.collect();
  }
}
