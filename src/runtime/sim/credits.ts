/** Room in a window that is on its way back to the writer: when it is here, and how much. */
export class Credits {
  #at: number[] = [];
  #bytes: number[] = [];
  /** Those before it were collected. */
  #head = 0;

  /** When the next one is here; undefined when none is on its way. */
  get next(): number | undefined {
    return this.#at[this.#head];
  }

  add(at: number, bytes: number): void {
    // An acknowledgement carries all that came before it.
    const last = this.#at.length - 1;
    this.#at.push(last >= 0 ? Math.max(at, this.#at[last]) : at);
    this.#bytes.push(bytes);
  }

  /** Takes those that are here and says how many bytes they free. */
  collect(now: number): number {
    let bytes = 0;
    while (this.#head < this.#at.length && this.#at[this.#head] <= now) {
      bytes += this.#bytes[this.#head++];
    }
    if (this.#head > 0 && (this.#head === this.#at.length || this.#head > keptMax)) {
      this.#at.splice(0, this.#head);
      this.#bytes.splice(0, this.#head);
      this.#head = 0;
    }
    return bytes;
  }
}

/** Collected ones that are not cleared away yet. */
const keptMax = 64;
