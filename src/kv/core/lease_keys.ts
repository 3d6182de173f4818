/** Reading the keys of a lease, of which there may be very many, in slices. */
import { assert } from "../../base/assert.ts";
import { nowhere } from "./records.ts";
import { SlicedSort } from "./sliced_sort.ts";
import type { Store } from "./store.ts";

/** What a key takes in a message beside its bytes, at most: its tag and its length. */
const keyOverheadBytes = 5;

/** The keys as they are when it begins. To be closed, since the store cleans nothing meanwhile. */
export class LeaseKeysScan {
  readonly #store: Store;
  readonly #bytesMax: number;
  readonly #addresses: number[];
  #bytes = 0;
  #weighed = 0;
  #sort: SlicedSort<number> | undefined = undefined;
  readonly #keys: Uint8Array[] = [];
  #isClosed = false;

  /** `addresses` are those of live keys. */
  constructor(store: Store, addresses: Iterable<number>, bytesMax: number) {
    this.#store = store;
    this.#bytesMax = bytesMax;
    this.#addresses = [...addresses];
    store.pins++;
  }

  /** The keys in their order once all are there; `too_large` when they take more than allowed. */
  step(keys: number): Uint8Array[] | "too_large" | undefined {
    if (this.#sort === undefined) return this.#weigh(keys);
    if (!this.#sort.step(keys)) return undefined;
    const { sorted } = this.#sort;
    const to = Math.min(sorted.length, this.#keys.length + keys);
    while (this.#keys.length < to) {
      this.#keys.push(this.#store.records.keyBytes(sorted[this.#keys.length]));
    }
    return to === sorted.length ? this.#keys : undefined;
  }

  close(): void {
    if (!this.#isClosed) this.#store.pins--;
    this.#isClosed = true;
  }

  #weigh(keys: number): "too_large" | undefined {
    const { records } = this.#store;
    const to = Math.min(this.#addresses.length, this.#weighed + keys);
    for (; this.#weighed < to; this.#weighed++) {
      const address = this.#addresses[this.#weighed];
      assert(records.newest(address) !== nowhere, "the key of a lease was written");
      this.#bytes += records.keyLength(address) + keyOverheadBytes;
      if (this.#bytes > this.#bytesMax) return "too_large";
    }
    if (to === this.#addresses.length) {
      this.#sort = new SlicedSort(this.#addresses, (a, b) => records.compareKeys(a, b));
    }
    return undefined;
  }
}
