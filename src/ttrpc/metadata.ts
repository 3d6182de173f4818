/**
 * Request and response metadata: an ordered list of key and value pairs, as on the wire. Keys are
 * looked up and sent in lower case (Go's server looks them up that way; metadata.go upstream); a
 * key may have several values, and an empty value is a value.
 */
export class Metadata implements Iterable<[key: string, value: string]> {
  #pairs: string[] = [];

  /** From an object; an array gives a key several values. */
  static from(
    init: Metadata | Readonly<Record<string, string | readonly string[]>> | undefined,
  ): Metadata {
    const metadata = new Metadata();
    if (init === undefined) return metadata;
    if (init instanceof Metadata) {
      metadata.#pairs = init.#pairs.slice();
      return metadata;
    }
    for (const key of Object.keys(init)) {
      const value = init[key];
      if (typeof value === "string") metadata.append(key, value);
      else for (const one of value) metadata.append(key, one);
    }
    return metadata;
  }

  /** The number of pairs. */
  get size(): number {
    return this.#pairs.length / 2;
  }

  /** The first value of a key. */
  get(key: string): string | undefined {
    const wanted = key.toLowerCase();
    const pairs = this.#pairs;
    for (let at = 0; at < pairs.length; at += 2) if (pairs[at] === wanted) return pairs[at + 1];
    return undefined;
  }

  /** All values of a key, in order. */
  getAll(key: string): string[] {
    const wanted = key.toLowerCase();
    const pairs = this.#pairs;
    const values: string[] = [];
    for (let at = 0; at < pairs.length; at += 2) {
      if (pairs[at] === wanted) values.push(pairs[at + 1]);
    }
    return values;
  }

  /** Adds a value and keeps those that the key has. */
  append(key: string, value: string): void {
    this.#pairs.push(key.toLowerCase(), value);
  }

  /** Gives a key this one value. */
  set(key: string, value: string): void {
    this.delete(key);
    this.append(key, value);
  }

  /** Removes every value of a key. */
  delete(key: string): void {
    const wanted = key.toLowerCase();
    const pairs = this.#pairs;
    const kept: string[] = [];
    for (let at = 0; at < pairs.length; at += 2) {
      if (pairs[at] !== wanted) kept.push(pairs[at], pairs[at + 1]);
    }
    this.#pairs = kept;
  }

  *[Symbol.iterator](): IterableIterator<[key: string, value: string]> {
    const pairs = this.#pairs;
    for (let at = 0; at < pairs.length; at += 2) yield [pairs[at], pairs[at + 1]];
  }
}
