/**
 * Exactly-once: a client opens a session through the log, numbers its commands and repeats one with
 * its number when it does not know the outcome; a command that was applied is answered with the
 * stored result (dissertation, section 6.3). A session's id is the index of the entry that opened
 * it, so ids never come again and one that was evicted is told apart from one that never was.
 *
 * The first command may open its session itself, under a number that the client draws. Which of
 * those were seen is remembered longer than the sessions live, so that a late retry does not open
 * another one.
 *
 * The tables are bounded. Who leaves is decided by the order of the log alone: first the sessions of
 * a single command, the oldest before the others, then the session whose last command is the oldest.
 */
import type { FailureReason, KvResult } from "./result.ts";
import { entryBytes, type KvLimits, resultOverheadBytes } from "./limits.ts";
import type { Opening, SessionHeader } from "./command.ts";
import { toHex } from "../../base/bytes.ts";

export interface Session {
  readonly id: number;
  /** Its only command is the first. */
  readonly single: boolean;
  /** Results up to this sequence are forgotten. */
  acknowledged: number;
  readonly results: Map<number, KvResult>;
  bytes: number;
}

/** What a session is charged beside its results. */
const sessionOverheadBytes = 128;

/**
 * Openings that are remembered, the newest ones. A client repeats an opening command for
 * {@link openingRetryMs} at most: more clients than this would have to begin meanwhile.
 */
export const openingsMax = 16_384;
export const openingRetryMs = 30_000;

/** A session's id by the nonce that opened it. */
export interface KnownOpening {
  /** In hexadecimal. */
  readonly nonce: string;
  readonly id: number;
  /** It is still there, and for a single command. */
  readonly single: boolean;
}

export class Sessions {
  /** The least recently used first. */
  readonly #byId = new Map<number, Session>();
  /** Those of a single command, the oldest first. */
  readonly #single = new Map<number, Session>();
  /** Ids by nonce, in the order of their opening. */
  readonly #openings = new Map<string, number>();
  /** The newest that was ever opened. */
  lastId = 0;
  #bytes = 0;
  /** The one at the end of the row. */
  #newest = 0;

  get size(): number {
    return this.#byId.size + this.#single.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(id: number): boolean {
    return this.#find(id) !== undefined;
  }

  all(): readonly Session[] {
    return [...this.#byId.values(), ...this.#single.values()];
  }

  openings(): KnownOpening[] {
    return [...this.#openings].map(([nonce, id]) => ({ nonce, id, single: this.#single.has(id) }));
  }

  open(id: number, limits: KvLimits): void {
    this.#open(id, false);
    this.#evict(limits);
  }

  /** The session that this opened, now or before; undefined when it is gone. */
  openNamed(opening: Opening, index: number, limits: KvLimits): Session | undefined {
    const session = this.#named(opening, index);
    if (session?.id === index) this.#evict(limits);
    return session;
  }

  #open(id: number, single: boolean): Session {
    const session: Session = { id, single, acknowledged: 0, results: new Map(), bytes: 0 };
    this.lastId = id;
    this.insert(session);
    return session;
  }

  #find(id: number): Session | undefined {
    return this.#byId.get(id) ?? this.#single.get(id);
  }

  #named({ nonce, single }: Opening, index: number): Session | undefined {
    const name = toHex(nonce);
    const id = this.#openings.get(name);
    if (id !== undefined) return this.#find(id);
    this.#remember(name, index);
    return this.#open(index, single);
  }

  #remember(name: string, id: number): void {
    this.#openings.set(name, id);
    if (this.#openings.size <= openingsMax) return;
    for (const [oldest, session] of this.#openings) {
      this.#openings.delete(oldest);
      // Nothing else leads to a single command's session, or says in a snapshot what it is.
      if (this.#single.has(session)) this.close(session);
      return;
    }
  }

  /** Adds an opening as a snapshot has it, after the sessions; false if it contradicts them. */
  restoreOpening({ nonce, id, single }: KnownOpening): boolean {
    if (id === 0 || id > this.lastId || this.#openings.has(nonce)) return false;
    this.#remember(nonce, id);
    if (!single) return true;
    const session = this.#byId.get(id);
    if (session === undefined) return false;
    this.#byId.delete(id);
    this.#single.set(id, { ...session, single });
    return true;
  }

  /** Adds a session as it is, the most recently used one. */
  insert(session: Session): void {
    session.bytes = sessionOverheadBytes;
    for (const result of session.results.values()) session.bytes += resultBytes(result);
    this.#bytes += session.bytes;
    if (session.single) {
      this.#single.set(session.id, session);
      return;
    }
    this.#byId.set(session.id, session);
    this.#newest = session.id;
  }

  close(id: number): void {
    const session = this.#find(id);
    if (session === undefined) return;
    (session.single ? this.#single : this.#byId).delete(id);
    this.#bytes -= session.bytes;
  }

  closeNamed({ nonce }: Opening): void {
    const id = this.#openings.get(toHex(nonce));
    if (id !== undefined) this.close(id);
  }

  /** The session that is to apply the command, the result it has already, or why not. */
  begin(
    header: SessionHeader,
    index: number,
    limits: KvLimits,
  ): Session | KvResult | FailureReason {
    const { opening } = header;
    const session = opening === undefined
      ? this.#byId.get(header.session)
      : this.#named(opening, index);
    if (session === undefined) {
      const existed = opening !== undefined ||
        (header.session <= this.lastId && header.session > 0);
      return existed ? "session_expired" : "session_unknown";
    }
    if (!session.single && this.#newest !== session.id) {
      this.#byId.delete(session.id);
      this.#byId.set(session.id, session);
      this.#newest = session.id;
    }
    if (header.acknowledged > session.acknowledged) this.#acknowledge(session, header.acknowledged);
    if (header.sequence <= session.acknowledged) return "session_stale";
    const known = session.results.get(header.sequence);
    if (known !== undefined) return known;
    return session.results.size >= limits.sessionResultsMax ? "session_full" : session;
  }

  /** Keeps a command's result. A large one is replaced by the fact that it was applied. */
  keep(session: Session, sequence: number, result: KvResult, limits: KvLimits): void {
    let kept = result;
    let bytes = resultBytes(result);
    if (bytes > limits.sessionResultBytesMax) {
      kept = {
        kind: "failure",
        revision: result.revision,
        reason: "result_dropped",
        compactRevision: 0,
      };
      bytes = resultBytes(kept);
    }
    session.results.set(sequence, kept);
    session.bytes += bytes;
    this.#bytes += bytes;
    this.#evict(limits);
  }

  #acknowledge(session: Session, sequence: number): void {
    const from = session.acknowledged + 1;
    session.acknowledged = sequence;
    // Mostly one or a few more; only a client that skips sequences can make it a long way.
    if (sequence - from < session.results.size) {
      for (let each = from; each <= sequence; each++) this.#forget(session, each);
      return;
    }
    for (const kept of session.results.keys()) {
      if (kept <= sequence) this.#forget(session, kept);
    }
  }

  #forget(session: Session, sequence: number): void {
    const result = session.results.get(sequence);
    if (result === undefined) return;
    session.results.delete(sequence);
    const bytes = resultBytes(result);
    session.bytes -= bytes;
    this.#bytes -= bytes;
  }

  #evict(limits: KvLimits): void {
    const tooMany = (): boolean =>
      this.size > limits.sessionsMax || this.#bytes > limits.sessionBytesMax;
    // Mostly they are not, and this is asked after every command.
    if (!tooMany()) return;
    for (const table of [this.#single, this.#byId]) {
      for (const session of table.values()) {
        if (!tooMany()) return;
        if (table.size === 1) break;
        this.close(session.id);
      }
    }
  }
}

/** What a result counts; a function of its content alone. */
export function resultBytes(result: KvResult): number {
  let bytes = resultOverheadBytes;
  if (result.kind === "put" && result.previous !== undefined) {
    bytes += entryBytes(result.previous.key.length, result.previous.value.length);
  } else if (result.kind === "deleteRange" || result.kind === "range") {
    for (const { key, value } of result.kind === "range" ? result.entries : result.previous) {
      bytes += entryBytes(key.length, value.length);
    }
  } else if (result.kind === "transaction") {
    for (const one of result.results) bytes += resultBytes(one);
  }
  return bytes;
}
