/**
 * The changes since the compaction in the order they happened, each with the sum of what they made
 * superfluous so far: a row that grows at one end and is consumed at the other. Positions count all
 * changes that ever were in this row and do not shift.
 */
import { assert } from "../../base/assert.ts";

const chunkItems = 1024;

class Chunk {
  readonly records = new Uint32Array(chunkItems);
  readonly sums = new Float64Array(chunkItems);
}

export class History {
  readonly #chunks: Chunk[] = [];
  /** Chunks that were dropped already. */
  #dropped = 0;
  #begin = 0;
  #end = 0;

  /** The first position that is held. */
  get begin(): number {
    return this.#begin;
  }

  /** The position after the last. */
  get end(): number {
    return this.#end;
  }

  push(record: number, sum: number): void {
    const at = this.#end % chunkItems;
    if (at === 0) this.#chunks.push(new Chunk());
    const chunk = this.#chunks[this.#chunks.length - 1];
    chunk.records[at] = record;
    chunk.sums[at] = sum;
    this.#end++;
  }

  shift(): void {
    assert(this.#begin < this.#end, "there is a change to drop");
    this.#begin++;
    if (this.#begin % chunkItems === 0) {
      this.#chunks.shift();
      this.#dropped++;
    }
  }

  record(position: number): number {
    return this.#chunk(position).records[position % chunkItems];
  }

  /** What all changes up to this one made superfluous. */
  sum(position: number): number {
    return this.#chunk(position).sums[position % chunkItems];
  }

  #chunk(position: number): Chunk {
    return this.#chunks[Math.floor(position / chunkItems) - this.#dropped];
  }
}
