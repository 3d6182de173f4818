/**
 * What members say of themselves beside the agreed view, and may change at any time: a small map for
 * each member, written by nobody but that member, with a version that rises. Not agreed on: everybody
 * has the newest one that has come to him, as with Scuttlebutt. It is passed on from neighbour to
 * neighbour like everything else, and a new link begins with what each side has.
 *
 * Only what concerns members of the present view is kept, so the table is bounded by the view.
 */

/** What one member says of itself. */
export interface Facts {
  /** Of which stay. */
  readonly incarnation: bigint;
  /** Rises with each change. */
  readonly version: number;
  readonly entries: ReadonlyMap<string, Uint8Array>;
}

/** The versions that somebody has, by incarnation. */
export type Versions = ReadonlyMap<bigint, number>;

export type FactsMessage =
  | { readonly kind: "facts"; readonly facts: readonly Facts[] }
  /** "This is what I have": who has more of something sends it, and asks for what it has less of. */
  | { readonly kind: "versions"; readonly versions: Versions; readonly isAnswer: boolean };

/** Between two messages to one neighbour. */
const flushMs = 100;
/** Members in one message; each may say some kilobytes. */
const factsMax = 8;

interface Link {
  /** Incarnations of which it was not told the newest. */
  readonly pending: Set<bigint>;
  nextMs: number;
}

export class FactsTable {
  readonly #own: bigint;
  readonly #facts = new Map<bigint, Facts>();
  #members: ReadonlySet<bigint> = new Set();
  readonly #links = new Map<string, Link>();
  #messages: { readonly to: string; readonly message: FactsMessage }[] = [];
  #changed = new Set<bigint>();
  /** Something came about somebody who is not in the view yet. */
  #isMissing = false;

  /** `own`: this node's stay. */
  constructor(own: bigint) {
    this.#own = own;
    this.#facts.set(own, { incarnation: own, version: 0, entries: new Map() });
  }

  of(incarnation: bigint): ReadonlyMap<string, Uint8Array> {
    return this.#facts.get(incarnation)?.entries ?? none;
  }

  get dueMs(): number {
    let dueMs = this.#messages.length > 0 ? 0 : Infinity;
    for (const { pending, nextMs } of this.#links.values()) {
      if (pending.size > 0) dueMs = Math.min(dueMs, nextMs);
    }
    return dueMs;
  }

  /** Says something of this node, or nothing any more. */
  set(key: string, value: Uint8Array | undefined): void {
    const { version, entries } = this.#facts.get(this.#own)!;
    const changed = new Map(entries);
    if (value === undefined) changed.delete(key);
    else changed.set(key, value);
    this.#take({ incarnation: this.#own, version: version + 1, entries: changed }, undefined);
  }

  /** Who is in the view now; the others are forgotten. */
  install(incarnations: Iterable<bigint>): void {
    this.#members = new Set(incarnations);
    for (const incarnation of [...this.#facts.keys()]) {
      if (incarnation !== this.#own && !this.#members.has(incarnation)) {
        this.#facts.delete(incarnation);
      }
    }
    for (const { pending } of this.#links.values()) {
      for (const incarnation of pending) {
        if (!this.#facts.has(incarnation)) pending.delete(incarnation);
      }
    }
    // What was passed over before the view changed is asked for.
    if (this.#isMissing) { for (const address of this.#links.keys()) this.#greet(address, false); }
    this.#isMissing = false;
  }

  /** With whom it is exchanged from now on; new ones begin with what both have. */
  link(addresses: Iterable<string>): void {
    const wanted = new Set(addresses);
    for (const address of [...this.#links.keys()]) {
      if (!wanted.has(address)) this.#links.delete(address);
    }
    for (const address of wanted) {
      if (this.#links.has(address)) continue;
      this.#links.set(address, { pending: new Set(), nextMs: 0 });
      this.#greet(address, false);
    }
  }

  unlink(address: string): void {
    this.#links.delete(address);
  }

  receive(from: string, message: FactsMessage): void {
    if (message.kind === "facts") {
      for (const facts of message.facts) this.#learn(facts, from);
      return;
    }
    const { versions, isAnswer } = message;
    const own = versions.get(this.#own) ?? 0;
    const mine = this.#facts.get(this.#own)!;
    // A node that was restarted has begun to count anew: what it says now is the newest.
    if (own > mine.version) this.#take({ ...mine, version: own + 1 }, undefined);
    const link = this.#links.get(from);
    const lacking: Facts[] = [];
    for (const facts of this.#facts.values()) {
      if (facts.version <= (versions.get(facts.incarnation) ?? 0)) continue;
      if (link !== undefined) link.pending.add(facts.incarnation);
      else lacking.push(facts);
    }
    for (let at = 0; at < lacking.length; at += factsMax) {
      const facts = lacking.slice(at, at + factsMax);
      this.#messages.push({ to: from, message: { kind: "facts", facts } });
    }
    if (!isAnswer && this.#lacks(versions)) this.#greet(from, true);
  }

  /** Members of whom something new is known since this was asked last. */
  takeChanged(): ReadonlySet<bigint> {
    const changed = this.#changed;
    if (changed.size > 0) this.#changed = new Set();
    return changed;
  }

  take(nowMs: number): readonly { readonly to: string; readonly message: FactsMessage }[] {
    const messages = this.#messages;
    this.#messages = [];
    for (const [to, link] of this.#links) {
      if (link.pending.size === 0 || nowMs < link.nextMs) continue;
      const facts: Facts[] = [];
      for (const incarnation of link.pending) {
        if (facts.length === factsMax) break;
        link.pending.delete(incarnation);
        const known = this.#facts.get(incarnation);
        if (known !== undefined) facts.push(known);
      }
      link.nextMs = nowMs + flushMs;
      if (facts.length > 0) messages.push({ to, message: { kind: "facts", facts } });
    }
    return messages;
  }

  #greet(to: string, isAnswer: boolean): void {
    const versions = new Map<bigint, number>();
    for (const { incarnation, version } of this.#facts.values()) {
      if (version > 0) versions.set(incarnation, version);
    }
    this.#messages.push({ to, message: { kind: "versions", versions, isAnswer } });
  }

  #lacks(versions: Versions): boolean {
    for (const [incarnation, version] of versions) {
      if (version > (this.#facts.get(incarnation)?.version ?? 0)) return true;
    }
    return false;
  }

  #learn(facts: Facts, from: string): void {
    const { incarnation, version } = facts;
    if (incarnation === this.#own) return;
    if (!this.#members.has(incarnation)) {
      this.#isMissing = true;
      return;
    }
    if (version > (this.#facts.get(incarnation)?.version ?? 0)) this.#take(facts, from);
  }

  #take(facts: Facts, from: string | undefined): void {
    const { incarnation } = facts;
    this.#facts.set(incarnation, facts);
    this.#changed.add(incarnation);
    for (const [address, { pending }] of this.#links) {
      if (address !== from) pending.add(incarnation);
      else pending.delete(incarnation);
    }
  }
}

const none: ReadonlyMap<string, Uint8Array> = new Map();
