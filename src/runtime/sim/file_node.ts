/**
 * The contents of one file: what programs see (the page cache) and what a crash would leave. Not
 * two copies: for each sector that changed since it was made durable, the durable content is kept
 * aside, so that a sync costs nothing and a crash restores what it must.
 */
import type { Prng } from "../../base/prng.ts";

/** What a disk writes whole or not at all. */
export const sectorBytes = 512;

/** Sectors that one sync call covers, with their content before. Null stands for zeros. */
type Undo = Map<number, Uint8Array | null>;

/** A sync, or a durable write, that has been called and has not answered yet. */
export interface SyncPass {
  readonly undo: Undo;
  readonly size: number;
  /** Whether it covers all that was written before it. */
  readonly isWhole: boolean;
}

/** How a crash treated what was not durable. */
export type CrashOutcome = "nothing-unsynced" | "lost" | "torn" | "kept";

export class FileNode {
  readonly kind = "file" as const;
  readonly id: number;
  mode: number;
  size = 0;
  /** Names that lead here. */
  links = 0;
  /** The process that holds the exclusive lock, with flock(2)'s rules. */
  lockedBy: object | null = null;
  /** When the last append that is under way completes: appends keep their order. */
  appendsUntil = 0;
  #bytes = new Uint8Array(0);
  #durableSize = 0;
  /** Changed since the last sync was called. */
  #dirty: Undo = new Map();
  /** Syncs under way, oldest first. */
  #passes: SyncPass[] = [];
  /** Given up by a sync that failed: the cache has it, the medium never gets it by itself. */
  readonly #lost: Undo = new Map();

  constructor(id: number, mode: number) {
    this.id = id;
    this.mode = mode;
  }

  read(target: Uint8Array, position: number): number {
    const bytes = Math.max(0, Math.min(target.length, this.size - position));
    if (bytes > 0) target.set(this.#bytes.subarray(position, position + bytes));
    return bytes;
  }

  /** A copy of the whole. */
  content(): Uint8Array {
    return this.#bytes.slice(0, this.size);
  }

  write(bytes: Uint8Array, position: number): void {
    if (bytes.length === 0) return;
    const end = position + bytes.length;
    this.#remember(position, end);
    this.#reserve(end);
    this.#bytes.set(bytes, position);
    if (end > this.size) this.size = end;
  }

  truncate(size: number): void {
    if (size < this.size) {
      this.#remember(size, this.size);
      this.#bytes.fill(0, size, this.size);
    } else {
      this.#reserve(size);
    }
    this.size = size;
  }

  /** A sync call takes everything that was written before it. */
  beginSync(): SyncPass {
    const pass: SyncPass = { undo: this.#dirty, size: this.size, isWhole: true };
    this.#dirty = new Map();
    this.#passes.push(pass);
    return pass;
  }

  /** A durable write takes the sectors that it has written, and the length that they need. */
  beginSyncOf(from: number, end: number): SyncPass {
    const undo: Undo = new Map();
    for (const [sector, before] of this.#dirty) {
      if ((sector + 1) * sectorBytes <= from || sector * sectorBytes >= end) continue;
      undo.set(sector, before);
      this.#dirty.delete(sector);
    }
    const pass: SyncPass = { undo, size: Math.max(end, this.#durableSize), isWhole: false };
    this.#passes.push(pass);
    return pass;
  }

  endSync(pass: SyncPass): void {
    const index = this.#passes.indexOf(pass);
    // A later call that has answered covered this one already.
    if (index < 0) return;
    if (!pass.isWhole) return this.#endSyncOf(pass, index);
    for (const covered of this.#passes.splice(0, index + 1)) {
      for (const sector of covered.undo.keys()) this.#lost.delete(sector);
    }
    this.#durableSize = pass.size;
  }

  #endSyncOf({ undo, size }: SyncPass, index: number): void {
    this.#passes.splice(index, 1);
    for (const sector of undo.keys()) {
      this.#lost.delete(sector);
      // What an earlier call has under way of it is older, and has been overtaken.
      for (const earlier of this.#passes.slice(0, index)) earlier.undo.delete(sector);
    }
    this.#durableSize = Math.max(this.#durableSize, size);
  }

  /**
   * After a failed sync the kernel forgets which pages were dirty (what PostgreSQL calls
   * fsyncgate): the next sync succeeds without writing them.
   */
  failSync(pass: SyncPass): void {
    const index = this.#passes.indexOf(pass);
    if (index < 0) return;
    this.#passes.splice(index, 1);
    for (const [sector, before] of pass.undo) {
      const older = this.#passes.slice(0, index).some((other) => other.undo.has(sector));
      if (!older && !this.#lost.has(sector)) this.#lost.set(sector, before);
    }
  }

  /** Whether a crash now could lose something. */
  get unsynced(): boolean {
    return this.#dirty.size > 0 || this.#passes.length > 0 || this.#lost.size > 0 ||
      this.size !== this.#durableSize;
  }

  /** The machine went down. `tornChance` decides whether a part may survive. */
  crash(random: Prng, tornChance: number): CrashOutcome {
    if (!this.unsynced) return "nothing-unsynced";
    const generations = [this.#dirty, ...this.#passes.map((pass) => pass.undo).reverse()];
    const sectors = [...new Set(generations.flatMap((undo) => [...undo.keys()]))];
    sectors.sort((a, b) => a - b);
    const torn = tornChance > 0 && random.chance(tornChance);
    const survives = torn ? pickSurvivors(sectors, random) : nothingSurvives;
    let survivors = 0;
    let survivingEnd = 0;
    for (const sector of sectors) {
      // The newest version may be on the medium, else one that an earlier sync was writing.
      let kept = false;
      for (const undo of generations) {
        if (!undo.has(sector)) continue;
        if (survives(sector)) {
          kept = true;
          survivors++;
          survivingEnd = Math.max(survivingEnd, Math.min((sector + 1) * sectorBytes, this.size));
          break;
        }
        this.#restore(sector, undo.get(sector)!);
      }
      const before = kept ? undefined : this.#lost.get(sector);
      if (before !== undefined) this.#restore(sector, before);
    }
    for (const [sector, before] of this.#lost) {
      if (!generations.some((undo) => undo.has(sector))) this.#restore(sector, before);
    }
    this.#settleSize(torn, { survivingEnd, random });
    this.#dirty = new Map();
    this.#passes = [];
    this.#lost.clear();
    this.#durableSize = this.size;
    if (!torn) return "lost";
    return survivors === sectors.length ? "kept" : "torn";
  }

  /** Turns one bit over, on the medium as in the cache. */
  flipBit(position: number, bit: number): void {
    this.#bytes[position] ^= 1 << (bit & 7);
  }

  /** The length is metadata of its own: it may have come through with or without the data. */
  #settleSize(torn: boolean, options: { survivingEnd: number; random: Prng }): void {
    let size = this.#durableSize;
    if (torn && this.size > size) {
      const reached = Math.max(size, options.survivingEnd);
      size = options.random.chance(0.5) ? reached : this.size;
    } else if (torn && options.random.chance(0.5)) {
      size = this.size;
    }
    this.#reserve(size);
    if (size < this.size) this.#bytes.fill(0, size, this.size);
    this.size = size;
  }

  #restore(sector: number, before: Uint8Array | null): void {
    const from = sector * sectorBytes;
    this.#reserve(from + sectorBytes);
    if (before === null) this.#bytes.fill(0, from, from + sectorBytes);
    else this.#bytes.set(before, from);
  }

  /** Keeps the content of the sectors in this range that have changed for the first time. */
  #remember(from: number, end: number): void {
    const last = Math.floor((end - 1) / sectorBytes);
    for (let sector = Math.floor(from / sectorBytes); sector <= last; sector++) {
      if (this.#dirty.has(sector)) continue;
      const start = sector * sectorBytes;
      if (start >= this.size) {
        this.#dirty.set(sector, null);
        continue;
      }
      const before = new Uint8Array(sectorBytes);
      before.set(this.#bytes.subarray(start, Math.min(start + sectorBytes, this.size)));
      this.#dirty.set(sector, before);
    }
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(size, this.#bytes.length * 2, 1024));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

function nothingSurvives(): boolean {
  return false;
}

/** A prefix of the sectors, as a journal or an append gets there, or any subset of them. */
function pickSurvivors(sectors: readonly number[], random: Prng): (sector: number) => boolean {
  if (random.chance(0.5)) {
    const count = random.below(sectors.length + 1);
    const end = count === sectors.length ? Infinity : sectors[count];
    return (sector) => sector < end;
  }
  return () => random.chance(0.5);
}
