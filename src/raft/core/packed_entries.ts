/**
 * Old entries of a log in little room. As objects of their own they would be among the few that live
 * long in blocks of the collector's heap that are otherwise garbage, and hold all of it: a page of
 * entries is a few arrays, and entries are made of it anew when somebody asks.
 *
 * Only the front of the log is here, which is applied and durable and so never changes; see {@link Log}.
 */
import { assert } from "../../base/assert.ts";
import type { Entry, EntryType, LogIndex, Term } from "./types.ts";

/** Entries in a page. */
export const pageEntries = 128;
/** Larger data stays as it is: it is worth an object, and not worth copying. */
const copiedBytesMax = 4 << 10;

interface Page {
  readonly firstIndex: LogIndex;
  readonly terms: Float64Array;
  readonly types: Uint8Array;
  /** Where each entry's data ends in `data`. */
  readonly ends: Uint32Array;
  readonly data: Uint8Array;
  /** Data that was not copied, by place in the page. */
  readonly large: ReadonlyMap<number, Uint8Array> | undefined;
}

/** Places count from 0, the first entry that is not dropped. */
export class PackedEntries {
  #pages: Page[] = [];
  /** Entries of the first page that are dropped. */
  #dropped = 0;

  get length(): number {
    return this.#pages.length * pageEntries - this.#dropped;
  }

  /** Adds a page's worth of entries. */
  push(entries: readonly Entry[]): void {
    assert(entries.length === pageEntries, "whole pages are packed");
    this.#pages.push(packed(entries));
  }

  at(place: number): Entry {
    const page = this.#page(place);
    const at = (this.#dropped + place) % pageEntries;
    return {
      term: page.terms[at] as Term,
      index: page.firstIndex + at as LogIndex,
      type: page.types[at] as EntryType,
      data: page.large?.get(at) ??
        page.data.subarray(at === 0 ? 0 : page.ends[at - 1], page.ends[at]),
    };
  }

  term(place: number): Term {
    return this.#page(place).terms[(this.#dropped + place) % pageEntries] as Term;
  }

  /** Forgets so many from the front. A page's memory is given back when all of it is forgotten. */
  drop(count: number): void {
    assert(count <= this.length, "only what is packed is dropped");
    this.#dropped += count;
    const pages = Math.floor(this.#dropped / pageEntries);
    if (pages === 0) return;
    this.#pages = this.#pages.slice(pages);
    this.#dropped -= pages * pageEntries;
  }

  clear(): void {
    this.#pages = [];
    this.#dropped = 0;
  }

  #page(place: number): Page {
    return this.#pages[Math.floor((this.#dropped + place) / pageEntries)];
  }
}

function packed(entries: readonly Entry[]): Page {
  let bytes = 0;
  let large: Map<number, Uint8Array> | undefined;
  for (let at = 0; at < entries.length; at++) {
    const { data } = entries[at];
    if (data.length <= copiedBytesMax) bytes += data.length;
    else (large ??= new Map()).set(at, data);
  }
  const terms = new Float64Array(entries.length);
  const types = new Uint8Array(entries.length);
  const ends = new Uint32Array(entries.length);
  const data = new Uint8Array(bytes);
  let end = 0;
  for (let at = 0; at < entries.length; at++) {
    const entry = entries[at];
    terms[at] = entry.term;
    types[at] = entry.type;
    if (entry.data.length <= copiedBytesMax) {
      data.set(entry.data, end);
      end += entry.data.length;
    }
    ends[at] = end;
  }
  return { firstIndex: entries[0].index, terms, types, ends, data, large };
}
