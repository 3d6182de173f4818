/**
 * How long something usually takes: a smoothed mean and deviation, as RFC 6298 keeps them for round
 * trips. What has not happened yet takes no time.
 */
export class Estimate {
  #mean = 0;
  #deviation = 0;
  #samples = 0;

  get mean(): number {
    return this.#mean;
  }

  get samples(): number {
    return this.#samples;
  }

  /** Longer than this it hardly ever takes. */
  get high(): number {
    return this.#mean + 4 * this.#deviation;
  }

  add(value: number): void {
    if (this.#samples++ === 0) {
      this.#mean = value;
      this.#deviation = value / 2;
      return;
    }
    this.#deviation += (Math.abs(value - this.#mean) - this.#deviation) / 4;
    this.#mean += (value - this.#mean) / 8;
  }
}
