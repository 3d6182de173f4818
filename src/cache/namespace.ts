/**
 * Keys that are filled by one kind of source. A value is immutable: whatever node it comes from and
 * however old it is, it is the value of its key. That is why any copy will do, and why nothing has
 * to be handed over when the view changes.
 */
import type { Alarm } from "./alarm.ts";
import { Ask, type AskHome, type AskParts } from "./ask.ts";
import type { CacheCounters } from "./counters.ts";
import type { CacheMember } from "./cluster.ts";
import type { CacheSettings } from "./options.ts";
import type { Clock } from "../runtime/port.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Entry } from "./core/sieve.ts";
import { badKey, canceled, expired, refused } from "./refusal.ts";
import { Fill, type Filler, type FillHome, type FillParts } from "./fill.ts";
import { type Crowd, Waiter } from "./flight.ts";
import { KeyHash } from "./core/key_hash.ts";
import type { Owners } from "./owners.ts";
import type { Prng } from "../base/prng.ts";
import type { Store } from "./store.ts";

export interface NamespaceOptions {
  /** Gives values. Without it this node only asks members that have one. */
  readonly fill?: Filler;
  /** Time to live of values that come without one, in milliseconds. Default Infinity. */
  readonly ttlMs?: number;
  /** How long an error of the source is the answer; 0, the default, for only those who wait. */
  readonly errorTtlMs?: number;
}

export interface CacheGetOptions {
  /** Cancels the wait; the source goes on as long as others wait. */
  readonly signal?: AbortSignal;
  /** For the whole of it. Without one it ends when a fill may take no longer. */
  readonly timeoutMs?: number;
}

/** What a namespace needs of its node. */
export interface NamespaceParts extends AskParts, FillParts {
  readonly alarm: Alarm;
  readonly clock: Clock;
  readonly counters: CacheCounters;
  readonly crowd: Crowd;
  readonly owners: Owners;
  readonly random: Prng;
  readonly settings: CacheSettings;
  readonly store: Store;
  readonly stopped: boolean;
  /** The namespace is given up. */
  closed(namespace: CacheNamespace): void;
}

const noOptions: CacheGetOptions = {};
/** Of 32 bits, as the message has them. */
const ttlMillisMax = 0xffffffff;

export class CacheNamespace implements AskHome, FillHome {
  readonly name: string;
  readonly asks: Map<string, Ask> = new Map();
  readonly fills: Map<string, Fill> = new Map();
  readonly #parts: NamespaceParts;
  readonly #options: NamespaceOptions;
  readonly #hash: KeyHash;
  #entries: Map<string, Entry> = new Map();
  #isClosed = false;

  constructor(parts: NamespaceParts, name: string, options: NamespaceOptions) {
    const { ttlMs = Infinity, errorTtlMs = 0 } = options;
    if (!(ttlMs > 0) || !(errorTtlMs >= 0 && errorTtlMs < Infinity)) {
      throw new CoveyError(
        Code.invalidArgument,
        `cache namespace ${name}: ttlMs is ${ttlMs} and errorTtlMs ${errorTtlMs}: the first must ` +
          "be above 0, the second 0 or more",
      );
    }
    this.#parts = parts;
    this.name = name;
    this.#options = options;
    this.#hash = new KeyHash(name, parts.settings.keyBytesMax);
  }

  /** Whether this node has a source. */
  get hasSource(): boolean {
    return this.#options.fill !== undefined && !this.#isClosed;
  }

  /** Public for what fills. */
  get source(): Filler {
    return this.#options.fill!;
  }

  /** Values and copies that are kept. */
  get entries(): number {
    return this.#entries.size;
  }

  /**
   * The value of a key: from memory, from its owner, or from the source. The array is shared with
   * everybody who asks: it must not be written to. Rejects with what the source threw,
   * with `canceled`, `deadline_exceeded`, `invalid_argument` for what is no key, `unavailable` where
   * nobody has a source, `resource_exhausted` when too many wait.
   */
  get(key: string, options: CacheGetOptions = noOptions): Promise<Uint8Array> {
    const entry = this.#find(key);
    if (entry !== undefined) {
      return entry.value === undefined ? Promise.reject(entry.error) : Promise.resolve(entry.value);
    }
    return new Promise((resolve, reject) => {
      const { signal, timeoutMs } = options;
      this.#wait(key, true, timeoutMs, signal, resolve, reject);
    });
  }

  /**
   * The node ids of the members that have a source, best first: the first one owns the key, the
   * next one would if that one were away. Throws `invalid_argument` for what is no key.
   */
  rank(key: string): readonly string[] {
    const { owners, settings } = this.#parts;
    const fault = this.#hash.take(key);
    if (fault !== undefined) throw badKey(fault, settings.keyBytesMax);
    const table = owners.table(this.name, this.hasSource);
    return table.ranked(this.#hash, table.members.length).map(({ nodeId }) => nodeId);
  }

  /** The value if this node has it; asks nobody. It must not be written to. */
  peek(key: string): Uint8Array | undefined {
    return this.#find(key)?.value;
  }

  /** Forgets a key here, or all of them; gives how many values that were. */
  remove(key?: string): number {
    if (key === undefined) {
      const before = this.#entries;
      const count = before.size;
      this.#entries = new Map();
      this.#parts.store.drop(before);
      for (const flight of [...this.fills.values(), ...this.asks.values()]) flight.keep = false;
      this.fills.clear();
      this.asks.clear();
      return count;
    }
    // Those who wait get what is under way; those who come later do not, and it is not kept.
    for (const table of [this.fills, this.asks] as Map<string, Fill | Ask>[]) {
      const flight = table.get(key);
      if (flight === undefined) continue;
      flight.keep = false;
      table.delete(key);
    }
    const entry = this.#entries.get(key);
    if (entry === undefined) return 0;
    this.#parts.store.remove(entry);
    return 1;
  }

  /** Stops offering it and forgets its values; those who wait are refused. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const flights = [...this.fills.values(), ...this.asks.values()];
    this.remove();
    const error = closedNamespace(this.name);
    // The newest first: what waits for its turn is not to get it now.
    for (const flight of flights.reverse()) flight.stop(error);
    this.#parts.closed(this);
  }

  // -- for the service ------------------------------------------------------------------------

  /** What there is, for a member. */
  found(key: string): { readonly value: Uint8Array; readonly ttlMillis: number } | undefined {
    const entry = this.#find(key);
    if (entry === undefined) return undefined;
    if (entry.value === undefined) throw entry.error;
    return { value: entry.value, ttlMillis: this.#leftOf(entry.expiresMs) };
  }

  isFilling(key: string): boolean {
    return this.fills.has(key) || this.asks.has(key);
  }

  /** Another node asks. With `noForward` this one is the end of the way. */
  serve(
    key: string,
    noForward: boolean,
    timeoutMs: number | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly value: Uint8Array; readonly ttlMillis: number }> {
    return new Promise((resolve, reject) => {
      const done = (value: Uint8Array, expiresMs: number): void =>
        resolve({ value, ttlMillis: this.#leftOf(expiresMs) });
      this.#wait(key, !noForward, timeoutMs, signal, done, reject);
    });
  }

  /** Whom to ask may have changed. */
  moved(): void {
    for (const ask of [...this.asks.values()]) ask.moved();
  }

  // -- the ways to a value --------------------------------------------------------------------

  #find(key: string): Entry | undefined {
    const { counters, store } = this.#parts;
    const entry = store.find(this.#entries, key);
    if (entry === undefined) return undefined;
    if (store.isCopy(entry)) counters.copyHits++;
    else counters.hits++;
    return entry;
  }

  #wait(
    key: string,
    mayAsk: boolean,
    timeoutMs: number | undefined,
    signal: AbortSignal | undefined,
    done: (value: Uint8Array, expiresMs: number) => void,
    fail: (error: CoveyError) => void,
  ): void {
    const { clock, counters, crowd, settings } = this.#parts;
    counters.misses++;
    if (this.#parts.stopped) return fail(refused("stopping", "the node is shutting down"));
    if (this.#isClosed) return fail(closedNamespace(this.name));
    if (signal?.aborted) return fail(canceled());
    if (timeoutMs !== undefined && !(timeoutMs > 0)) return fail(expired());
    if (crowd.waiting >= settings.waitersMax) {
      counters.waitersRefused++;
      const message = `${crowd.waiting} callers wait for values already: ask again later`;
      return fail(refused("too_many_waiters", message));
    }
    const fault = this.#hash.take(key);
    if (fault !== undefined) return fail(badKey(fault, settings.keyBytesMax));
    const deadlineMs = timeoutMs === undefined ? Infinity : clock.monotonicMs() + timeoutMs;
    const waiter = new Waiter(crowd, done, fail, deadlineMs, signal);
    const flight = this.fills.get(key) ?? (mayAsk ? this.asks.get(key) : undefined);
    if (flight !== undefined) return flight.join(waiter);
    const owner = this.#owner();
    if (owner !== undefined && mayAsk) {
      const ask = new Ask(this.#parts, this, key);
      ask.join(waiter);
      ask.start(owner);
      return;
    }
    if (!mayAsk && owner !== undefined) counters.misrouted++;
    this.fillHere(key, waiter);
  }

  fillHere(key: string, waiter: Waiter): void {
    const flight = this.fills.get(key);
    if (flight !== undefined) return flight.join(waiter);
    if (!this.hasSource) {
      return waiter.fail(
        refused("not_offered", `this node has no source for cache namespace ${this.name}`),
      );
    }
    const { clock, settings } = this.#parts;
    const fill = new Fill(this.#parts, this, key, clock.monotonicMs() + settings.fillTimeoutMs);
    fill.join(waiter);
    fill.start();
  }

  /** Whom to ask for the key that was hashed last; undefined: this node fills. */
  #owner(): CacheMember | undefined {
    const { owners } = this.#parts;
    const table = owners.table(this.name, this.hasSource);
    const owner = table.owner(this.#hash);
    if (owner === undefined || owners.isSelf(owner)) return undefined;
    if (!owners.isSuspect(owner)) return owner;
    // Nobody waits for one that did not answer a moment ago.
    return this.hasSource ? undefined : owners.other(table, this.#hash, noneTried);
  }

  whomToAsk(key: string, tried: ReadonlySet<string>): CacheMember | undefined {
    const { owners } = this.#parts;
    const fault = this.#hash.take(key);
    if (fault !== undefined) return undefined;
    const owner = this.#owner();
    if (owner === undefined || !tried.has(owner.nodeId)) return owner;
    if (this.hasSource) return undefined;
    return owners.other(owners.table(this.name, false), this.#hash, tried);
  }

  isCandidate({ nodeId, address }: CacheMember): boolean {
    const { members } = this.#parts.owners.table(this.name, this.hasSource);
    return members.some((one) => one.nodeId === nodeId && one.address === address);
  }

  // -- what came ------------------------------------------------------------------------------

  filled(fill: Fill, value: Uint8Array, ttlMs: number | undefined): number {
    const expiresMs = this.#expiresMs(ttlMs ?? this.#options.ttlMs ?? Infinity);
    this.#hash.take(fill.key);
    const { owners } = this.#parts;
    const owner = owners.table(this.name, this.hasSource).owner(this.#hash);
    // What is filled here for want of the owner stands among the copies.
    const isCopy = owner !== undefined && !owners.isSelf(owner);
    if (fill.keep) this.#keep(fill.key, value, expiresMs, isCopy);
    return expiresMs;
  }

  failedToFill(fill: Fill, error: CoveyError): void {
    const { errorTtlMs = 0 } = this.#options;
    if (errorTtlMs === 0 || !fill.keep) return;
    const expiresMs = this.#expiresMs(errorTtlMs);
    const { code, rawMessage, details } = error;
    // What caused it may hold whatever the source works with.
    const kept = new CoveyError(code, rawMessage, { details });
    const { key } = fill;
    this.#parts.store.keepError({ table: this.#entries, key, expiresMs, isCopy: false }, kept);
  }

  answered(ask: Ask, value: Uint8Array, ttlMillis: number): number {
    const { clock, counters, random, settings } = this.#parts;
    const expiresMs = ttlMillis === 0 ? Infinity : clock.monotonicMs() + ttlMillis;
    const { copyOneIn } = settings;
    // A key that is often asked for is soon among those that are kept; one that is not seldom is.
    if (ask.keep && copyOneIn > 0 && (copyOneIn === 1 || random.below(copyOneIn) === 0)) {
      if (this.#keep(ask.key, value, expiresMs, true)) counters.copied++;
    }
    return expiresMs;
  }

  #keep(key: string, value: Uint8Array, expiresMs: number, isCopy: boolean): boolean {
    const { counters, settings, store } = this.#parts;
    const kept = value.length <= settings.valueBytesMax &&
      store.keep({ table: this.#entries, key, expiresMs, isCopy }, value);
    if (!kept) counters.passedThrough++;
    return kept;
  }

  /** Shortened at random: what was filled together does not end together. */
  #expiresMs(ttlMs: number): number {
    if (ttlMs === Infinity) return Infinity;
    const { clock, random, settings } = this.#parts;
    return clock.monotonicMs() + ttlMs * (1 - settings.ttlJitter * random.fraction());
  }

  #leftOf(expiresMs: number): number {
    if (expiresMs === Infinity) return 0;
    const leftMs = Math.ceil(expiresMs - this.#parts.clock.monotonicMs());
    return Math.min(Math.max(leftMs, 1), ttlMillisMax);
  }
}

function closedNamespace(name: string): CoveyError {
  return refused("not_offered", `cache namespace ${name} was closed`);
}

const noneTried: ReadonlySet<string> = new Set();
