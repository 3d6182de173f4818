/**
 * How many sources run at a time. One that is told to stop and does not still takes memory and
 * whatever it works with: it no longer holds up others, but only so many of them are borne.
 */

/** What waits for its turn to run. */
export interface Turn {
  run(): void;
}

export class FillSlots {
  readonly #runsMax: number;
  readonly #queue: Set<Turn> = new Set();
  /** Those that run and are still wanted. */
  active = 0;
  /** All that run. */
  running = 0;
  #stopped = false;

  constructor(runsMax: number) {
    this.#runsMax = runsMax;
  }

  /** Those that wait for their turn. */
  get queued(): number {
    return this.#queue.size;
  }

  enter(turn: Turn): void {
    this.#queue.add(turn);
    this.#next();
  }

  /** It does not want its turn any more. */
  leave(turn: Turn): void {
    this.#queue.delete(turn);
  }

  /** What ran is not wanted any more, or has its result. */
  unwanted(): void {
    this.active--;
    this.#next();
  }

  /** What ran has come back. */
  returned(): void {
    this.running--;
    this.#next();
  }

  /** Nothing gets its turn any more. */
  stop(): void {
    this.#stopped = true;
  }

  #next(): void {
    if (this.#stopped) return;
    for (const turn of this.#queue) {
      if (this.active >= this.#runsMax || this.running >= 2 * this.#runsMax) return;
      this.#queue.delete(turn);
      this.active++;
      this.running++;
      turn.run();
    }
  }
}
