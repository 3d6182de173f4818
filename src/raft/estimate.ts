/**
 * How long something usually takes: a smoothed mean and deviation, as RFC 6298 keeps them for round
 * trips. What has not happened yet takes no time. One sample counts no more than twice what was
 * long before, the first one included: an outage is no round trip, and a way that is longer is
 * learned by a few samples.
 */
/** What a sample may exceed the most usual by in any case. */
const jumpMax = 50;

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

  add(measured: number): void {
    const value = Math.min(measured, 2 * this.high + jumpMax);
    if (this.#samples++ === 0) {
      this.#mean = value;
      this.#deviation = value / 2;
      return;
    }
    this.#deviation += (Math.abs(value - this.#mean) - this.#deviation) / 4;
    this.#mean += (value - this.#mean) / 8;
  }
}
