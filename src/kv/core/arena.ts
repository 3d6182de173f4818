/**
 * Memory for small records outside of the collector's sight: slabs of 64 KiB, each cut into slots of
 * one size, freed slots used again. 200,000 objects with their own headers would cost as much as
 * what they hold and be traced at every collection; here they cost their bytes and a few per cent.
 *
 * An address is a slab's number and an offset in units of 8 bytes; it stays valid until the slot is
 * freed, and nothing ever moves. Address 0 is never given out.
 */
import { assert } from "../../base/assert.ts";

const slabBytes = 64 * 1024;
const unitBytes = 8;
const unitBits = 13;
const slabUnits = 1 << unitBits;
const unitMask = slabUnits - 1;
/** Larger ones get a slab of their own. */
const slotBytesMax = 8 * 1024;
const slabsMax = 1 << (32 - unitBits);
/** Empty slabs that are kept for the next size that needs one. */
const sparesMax = 16;
const nobody = 0xffffffff;

/** The class of a size and the size of a class: steps of an eighth to a sixteenth. */
const stepsPerDoubling = 16;
const linearBytesMax = 256;

function classOf(bytes: number): number {
  if (bytes <= linearBytesMax) return (bytes + 7) >>> 3;
  // Above 256 each doubling is cut into sixteen equal steps.
  const doubling = 23 - Math.clz32(bytes - 1);
  const step = 16 << doubling;
  const base = linearBytesMax << doubling;
  return 32 + doubling * stepsPerDoubling + Math.floor((bytes - base + step - 1) / step);
}

function bytesOfClass(kind: number): number {
  if (kind <= 32) return kind << 3;
  const doubling = Math.floor((kind - 33) / stepsPerDoubling);
  return (linearBytesMax << doubling) +
    ((kind - 32 - doubling * stepsPerDoubling) * 16 << doubling);
}

/** One slab, seen as bytes, words and doubles. All slabs have the same shape. */
export class Slab {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly doubles: Float64Array;
  /** -1 for a slab that holds one large record. */
  kind = -1;
  slotUnits = 0;
  slots = 0;
  used = 0;
  /** Slots from here on were never used. */
  fresh = 0;
  /** The first freed slot, as a unit; each freed slot names the next in its first word. */
  freed = nobody;

  constructor(buffer: ArrayBuffer) {
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.doubles = new Float64Array(buffer);
  }
}

export class Arena {
  /** By number; read by those who know an address. Number 0 is nobody's. */
  readonly slabs: Slab[] = [new Slab(new ArrayBuffer(0))];
  /** Numbers that are free again. */
  readonly #numbers: number[] = [];
  readonly #spares: Slab[] = [];
  /** By class: numbers of the slabs that have room. */
  readonly #open: number[][] = [];
  readonly #none = this.slabs[0];
  #bytesHeld = 0;

  /** What the slabs take, spare ones included. */
  get bytesHeld(): number {
    return this.#bytesHeld;
  }

  allocate(bytes: number): number {
    if (bytes > slotBytesMax) return this.#allocateLarge(bytes);
    const kind = classOf(bytes);
    const open = this.#open[kind] ??= [];
    if (open.length === 0) open.push(this.#openSlab(kind));
    const number = open[open.length - 1];
    const slab = this.slabs[number];
    let unit: number;
    if (slab.freed !== nobody) {
      unit = slab.freed;
      slab.freed = slab.words[unit * 2];
    } else unit = slab.fresh++ * slab.slotUnits;
    slab.used++;
    if (slab.used === slab.slots) open.pop();
    return number * slabUnits + unit;
  }

  free(address: number): void {
    const number = address >>> unitBits;
    const slab = this.slabs[number];
    assert(number > 0 && slab.used > 0, "only what was allocated is freed");
    if (slab.kind < 0) return this.#drop(number, slab);
    const unit = address & unitMask;
    if (slab.used === slab.slots) this.#open[slab.kind].push(number);
    slab.words[unit * 2] = slab.freed;
    slab.freed = unit;
    slab.used--;
    if (slab.used === 0) this.#close(number, slab);
  }

  /** Gives an empty slab away unless it is the only one of its size with room. */
  #close(number: number, slab: Slab): void {
    const open = this.#open[slab.kind];
    if (open.length === 1) return;
    open.splice(open.indexOf(number), 1);
    if (this.#spares.length >= sparesMax) return this.#drop(number, slab);
    this.slabs[number] = this.#none;
    this.#numbers.push(number);
    this.#spares.push(slab);
  }

  #drop(number: number, slab: Slab): void {
    this.slabs[number] = this.#none;
    this.#numbers.push(number);
    this.#bytesHeld -= slab.bytes.length;
  }

  #openSlab(kind: number): number {
    const slab = this.#spares.pop() ?? this.#newSlab(slabBytes);
    slab.kind = kind;
    slab.slotUnits = bytesOfClass(kind) / unitBytes;
    slab.slots = Math.floor(slabUnits / slab.slotUnits);
    slab.used = 0;
    slab.fresh = 0;
    slab.freed = nobody;
    return this.#number(slab);
  }

  #allocateLarge(bytes: number): number {
    const slab = this.#newSlab(Math.ceil(bytes / unitBytes) * unitBytes);
    slab.used = 1;
    return this.#number(slab) * slabUnits;
  }

  #newSlab(bytes: number): Slab {
    this.#bytesHeld += bytes;
    return new Slab(new ArrayBuffer(bytes));
  }

  #number(slab: Slab): number {
    const number = this.#numbers.pop() ?? this.slabs.length;
    assert(number < slabsMax, "the arena has an address for every slab");
    this.slabs[number] = slab;
    return number;
  }
}

/** Where an address is in its slab: multiply by 2 for words, by 8 for bytes. */
export function unitOf(address: number): number {
  return address & unitMask;
}

export function slabOf(address: number): number {
  return address >>> unitBits;
}
