/** Latencies in logarithmic buckets of under 1 % each, so that millions of them cost nothing. */
const perDoubling = 96;
const bucketCount = perDoubling * 34;

export class Latencies {
  readonly #buckets: Float64Array = new Float64Array(bucketCount);
  #maxMs = 0;
  count = 0;

  add(ms: number): void {
    // From one microsecond up; what is shorter counts as that.
    const bucket = Math.max(0, Math.floor(Math.log2(ms * 1000) * perDoubling));
    this.#buckets[Math.min(bucket, bucketCount - 1)]++;
    this.count++;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** The latency in microseconds that this share of the calls did not exceed. */
  quantile(share: number): number {
    let below = 0;
    for (let at = 0; at < bucketCount; at++) {
      below += this.#buckets[at];
      if (below >= share * this.count) return Math.round(2 ** ((at + 1) / perDoubling) * 10) / 10;
    }
    return Math.round(this.#maxMs * 1000);
  }

  summary(): { p50Us: number; p99Us: number; p999Us: number; maxUs: number } {
    return {
      p50Us: this.quantile(0.5),
      p99Us: this.quantile(0.99),
      p999Us: this.quantile(0.999),
      maxUs: Math.round(this.#maxMs * 1000),
    };
  }
}
