/**
 * Deadlines of the calls in flight: a binary heap whose items know their place, so that a call
 * that ends takes its deadline with it. Nothing stale stays behind at 300,000 calls a second.
 */
export interface Deadline {
  /** Monotonic milliseconds. */
  deadlineMs: number;
  /** Place in the heap; -1 when not in it. */
  deadlineIndex: number;
}

export class Deadlines<T extends Deadline> {
  readonly #heap: T[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** The earliest deadline, or Infinity. */
  get nextMs(): number {
    return this.#heap.length === 0 ? Infinity : this.#heap[0].deadlineMs;
  }

  add(item: T): void {
    item.deadlineIndex = this.#heap.length;
    this.#heap.push(item);
    this.#up(item.deadlineIndex);
  }

  /** No-op when the item is not in it. */
  remove(item: T): void {
    const index = item.deadlineIndex;
    if (index < 0) return;
    item.deadlineIndex = -1;
    const last = this.#heap.pop()!;
    if (last === item) return;
    this.#heap[index] = last;
    last.deadlineIndex = index;
    this.#up(index);
    this.#down(last.deadlineIndex);
  }

  /** Takes out one item whose deadline is not after `nowMs`. */
  take(nowMs: number): T | undefined {
    if (this.#heap.length === 0 || this.#heap[0].deadlineMs > nowMs) return undefined;
    const first = this.#heap[0];
    this.remove(first);
    return first;
  }

  #up(from: number): void {
    const heap = this.#heap;
    const item = heap[from];
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (heap[parent].deadlineMs <= item.deadlineMs) break;
      heap[index] = heap[parent];
      heap[index].deadlineIndex = index;
      index = parent;
    }
    heap[index] = item;
    item.deadlineIndex = index;
  }

  #down(from: number): void {
    const heap = this.#heap;
    const item = heap[from];
    let index = from;
    while (true) {
      let child = index * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1].deadlineMs < heap[child].deadlineMs) child++;
      if (heap[child].deadlineMs >= item.deadlineMs) break;
      heap[index] = heap[child];
      heap[index].deadlineIndex = index;
      index = child;
    }
    heap[index] = item;
    item.deadlineIndex = index;
  }
}
