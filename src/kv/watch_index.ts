/**
 * Which watches a change concerns: a table for single keys, a search tree for intervals (a treap
 * over their beginnings, each node knowing the last end below it). A change costs what it finds and
 * the logarithm of what there is.
 */
import { compareBytes, hashBytes, isOpenEnd } from "./core/bytes.ts";

/** What is looked for, where it lies. */
export interface KeyView {
  /** `hashBytes` of its bytes. */
  keyHash(): number;
  compareKey(bytes: Uint8Array): number;
}

/** An interval as in the whole store: no end is the one key, one zero byte is no end at all. */
export interface Interval {
  readonly key: Uint8Array;
  readonly end: Uint8Array;
}

/** Those that watch the same keys: mostly one. */
class Members<T> {
  #one: T | undefined = undefined;
  #many: Set<T> | undefined = undefined;

  get size(): number {
    if (this.#many !== undefined) return this.#many.size;
    return this.#one === undefined ? 0 : 1;
  }

  add(member: T): void {
    if (this.#many !== undefined) this.#many.add(member);
    else if (this.#one === undefined) this.#one = member;
    else {
      this.#many = new Set([this.#one, member]);
      this.#one = undefined;
    }
  }

  delete(member: T): boolean {
    if (this.#many !== undefined) return this.#many.delete(member);
    if (this.#one !== member) return false;
    this.#one = undefined;
    return true;
  }

  appendTo(found: T[]): void {
    if (this.#one !== undefined) found.push(this.#one);
    else if (this.#many !== undefined) { for (const member of this.#many) found.push(member); }
  }
}

interface KeyNode<T> {
  readonly key: Uint8Array;
  readonly members: Members<T>;
  /** Another key with the same hash. */
  next: KeyNode<T> | undefined;
}

interface IntervalNode<T> {
  readonly key: Uint8Array;
  /** Undefined for no end. */
  readonly end: Uint8Array | undefined;
  readonly members: Members<T>;
  /** Above those of the children. */
  readonly priority: number;
  left: IntervalNode<T> | undefined;
  right: IntervalNode<T> | undefined;
  /** The last of the ends from here down. */
  last: Uint8Array | undefined;
}

export class WatchIndex<T> {
  readonly #keys = new Map<number, KeyNode<T>>();
  #root: IntervalNode<T> | undefined = undefined;
  #size = 0;
  #made = 0;

  get size(): number {
    return this.#size;
  }

  /** An interval that holds nothing is no interval: the caller refuses it. */
  add({ key, end }: Interval, member: T): void {
    this.#size++;
    if (end.length === 0) this.#keyNode(key).members.add(member);
    else this.#root = this.#insert(this.#root, key, isOpenEnd(end) ? undefined : end, member);
  }

  /** With the interval that it was added with. */
  delete({ key, end }: Interval, member: T): void {
    if (end.length === 0) this.#deleteKey(key, member);
    else this.#root = this.#remove(this.#root, key, isOpenEnd(end) ? undefined : end, member);
  }

  /** Appends every member whose interval holds the key, in no particular order. */
  find(key: KeyView, found: T[]): void {
    if (this.#keys.size > 0) {
      let node = this.#keys.get(key.keyHash());
      while (node !== undefined && key.compareKey(node.key) !== 0) node = node.next;
      node?.members.appendTo(found);
    }
    stab(this.#root, key, found);
  }

  #keyNode(key: Uint8Array): KeyNode<T> {
    const hash = hashBytes(key);
    const first = this.#keys.get(hash);
    for (let node = first; node !== undefined; node = node.next) {
      if (compareBytes(node.key, key) === 0) return node;
    }
    const made: KeyNode<T> = { key, members: new Members(), next: first };
    this.#keys.set(hash, made);
    return made;
  }

  #deleteKey(key: Uint8Array, member: T): void {
    const hash = hashBytes(key);
    let before: KeyNode<T> | undefined;
    let node = this.#keys.get(hash);
    while (node !== undefined && compareBytes(node.key, key) !== 0) {
      before = node;
      node = node.next;
    }
    if (node === undefined || !node.members.delete(member)) return;
    this.#size--;
    if (node.members.size > 0) return;
    if (before !== undefined) before.next = node.next;
    else if (node.next !== undefined) this.#keys.set(hash, node.next);
    else this.#keys.delete(hash);
  }

  #insert(
    node: IntervalNode<T> | undefined,
    key: Uint8Array,
    end: Uint8Array | undefined,
    member: T,
  ): IntervalNode<T> {
    if (node === undefined) {
      const members = new Members<T>();
      members.add(member);
      // Any spread of numbers keeps the tree flat; a counter's multiples need no generator.
      const priority = Math.imul(++this.#made, 0x9e3779b1) >>> 0;
      return { key, end, members, priority, left: undefined, right: undefined, last: end };
    }
    const order = compareIntervals(key, end, node);
    if (order === 0) {
      node.members.add(member);
      return node;
    }
    if (order < 0) {
      node.left = this.#insert(node.left, key, end, member);
      if (node.left.priority > node.priority) return rotateRight(node, node.left);
    } else {
      node.right = this.#insert(node.right, key, end, member);
      if (node.right.priority > node.priority) return rotateLeft(node, node.right);
    }
    settle(node);
    return node;
  }

  #remove(
    node: IntervalNode<T> | undefined,
    key: Uint8Array,
    end: Uint8Array | undefined,
    member: T,
  ): IntervalNode<T> | undefined {
    if (node === undefined) return undefined;
    const order = compareIntervals(key, end, node);
    if (order < 0) node.left = this.#remove(node.left, key, end, member);
    else if (order > 0) node.right = this.#remove(node.right, key, end, member);
    else {
      if (node.members.delete(member)) this.#size--;
      if (node.members.size === 0) return merge(node.left, node.right);
    }
    settle(node);
    return node;
  }
}

function compareIntervals<T>(
  key: Uint8Array,
  end: Uint8Array | undefined,
  node: IntervalNode<T>,
): number {
  return compareBytes(key, node.key) || compareEnds(end, node.end);
}

/** No end is behind every end. */
function compareEnds(a: Uint8Array | undefined, b: Uint8Array | undefined): number {
  if (a === undefined) return b === undefined ? 0 : 1;
  return b === undefined ? -1 : compareBytes(a, b);
}

function laterEnd(a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined {
  return compareEnds(a, b) < 0 ? b : a;
}

function settle<T>(node: IntervalNode<T>): void {
  let last = node.end;
  if (node.left !== undefined) last = laterEnd(last, node.left.last);
  if (node.right !== undefined) last = laterEnd(last, node.right.last);
  node.last = last;
}

function rotateRight<T>(node: IntervalNode<T>, left: IntervalNode<T>): IntervalNode<T> {
  node.left = left.right;
  left.right = node;
  settle(node);
  settle(left);
  return left;
}

function rotateLeft<T>(node: IntervalNode<T>, right: IntervalNode<T>): IntervalNode<T> {
  node.right = right.left;
  right.left = node;
  settle(node);
  settle(right);
  return right;
}

/** Everything in the left one comes before everything in the right one. */
function merge<T>(
  left: IntervalNode<T> | undefined,
  right: IntervalNode<T> | undefined,
): IntervalNode<T> | undefined {
  if (left === undefined) return right;
  if (right === undefined) return left;
  if (left.priority > right.priority) {
    left.right = merge(left.right, right);
    settle(left);
    return left;
  }
  right.left = merge(left, right.left);
  settle(right);
  return right;
}

function stab<T>(node: IntervalNode<T> | undefined, key: KeyView, found: T[]): void {
  if (node === undefined) return;
  // Everything from here down ends at or before the key.
  if (node.last !== undefined && key.compareKey(node.last) >= 0) return;
  stab(node.left, key, found);
  if (key.compareKey(node.key) < 0) return;
  if (node.end === undefined || key.compareKey(node.end) < 0) node.members.appendTo(found);
  stab(node.right, key, found);
}
