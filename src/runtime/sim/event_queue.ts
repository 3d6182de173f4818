/** A binary heap of events ordered by (time, sequence), from which any event can be taken out. */

/** Who runs an event: an event of a paused process waits, one of a dead process is dropped. */
export interface Executor {
  paused: boolean;
  dead: boolean;
  /** Events that came due while paused, in order. */
  readonly held: SimEvent[];
}

/**
 * Runs one event; says whether code outside the simulator may have run, so that the loop must
 * give promises a turn before the next event.
 */
export type EventCallback<A> = (argument: A) => boolean;

export interface SimEvent {
  at: number;
  sequence: number;
  /** Place in the heap, -1 when it is not there. */
  index: number;
  run: EventCallback<never>;
  argument: unknown;
  /** Absent for the network and other parts that go on while processes stop. */
  readonly executor: Executor | null;
}

export class EventQueue {
  readonly #heap: SimEvent[] = [];
  #sequence = 0;

  get length(): number {
    return this.#heap.length;
  }

  peek(): SimEvent | undefined {
    return this.#heap[0];
  }

  add<A>(at: number, run: EventCallback<A>, argument: A, executor: Executor | null): SimEvent {
    const event: SimEvent = { at, sequence: this.#sequence++, index: -1, run, argument, executor };
    this.#push(event);
    return event;
  }

  /** Puts an event that was taken out in again, behind those of the same time. */
  again(event: SimEvent, at: number): void {
    event.at = at;
    event.sequence = this.#sequence++;
    this.#push(event);
  }

  pop(): SimEvent | undefined {
    const first = this.#heap[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Takes an event out; nothing happens when it is not in. */
  remove(event: SimEvent): void {
    const heap = this.#heap;
    const at = event.index;
    if (at < 0) return;
    event.index = -1;
    const last = heap.pop()!;
    if (last === event) return;
    heap[at] = last;
    last.index = at;
    if (!this.#up(at)) this.#down(at);
  }

  /** Gives events a new time; `retime` answers undefined for those that stay. */
  retime(retime: (event: SimEvent) => number | undefined): void {
    const heap = this.#heap;
    for (const event of heap) event.at = retime(event) ?? event.at;
    for (let at = (heap.length >> 1) - 1; at >= 0; at--) this.#down(at);
  }

  #push(event: SimEvent): void {
    event.index = this.#heap.length;
    this.#heap.push(event);
    this.#up(event.index);
  }

  #up(start: number): boolean {
    const heap = this.#heap;
    const event = heap[start];
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (!before(event, above)) break;
      heap[at] = above;
      above.index = at;
      at = parent;
    }
    heap[at] = event;
    event.index = at;
    return at !== start;
  }

  #down(start: number): void {
    const heap = this.#heap;
    const event = heap[start];
    let at = start;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], event)) break;
      heap[at] = heap[child];
      heap[at].index = at;
      at = child;
    }
    heap[at] = event;
    event.index = at;
  }
}

function before(a: SimEvent, b: SimEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}
