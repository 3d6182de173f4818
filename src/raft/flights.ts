/** Batches of one group on their way to the disk, in order, and what must wait for each. */
import type { Message, SnapshotMeta } from "./core/types.ts";

/** A batch on its way to the disk. */
export interface Flight {
  readonly batch: number;
  /** The log's; of a batch that needs no disk, that of the one before it. */
  readonly ticket: number;
  readonly afterSync: readonly Message[];
  readonly snapshot: SnapshotMeta | undefined;
}

export class Flights {
  #flights: Flight[] = [];

  /** Under which everything so far is durable; 0 when all of it is. */
  get newestTicket(): number {
    return this.#flights.length > 0 ? this.#flights[this.#flights.length - 1].ticket : 0;
  }

  push(flight: Flight): void {
    this.#flights.push(flight);
  }

  /** Those that are durable with this ticket; they are in the air no more. */
  land(ticket: number): readonly Flight[] {
    let count = 0;
    while (count < this.#flights.length && this.#flights[count].ticket <= ticket) count++;
    if (count === 0) return none;
    const landed = this.#flights.slice(0, count);
    this.#flights = this.#flights.slice(count);
    return landed;
  }
}

const none: readonly Flight[] = [];
