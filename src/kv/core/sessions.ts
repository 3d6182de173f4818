/**
 * Exactly-once: a client opens a session through the log, numbers its commands and repeats one with
 * its number when it does not know the outcome; a command that was applied is answered with the
 * stored result (dissertation, section 6.3). A session's id is the index of the entry that opened
 * it, so ids never come again and one that was evicted is told apart from one that never was.
 *
 * The table is bounded. Who leaves is decided by the order of the log alone: the session whose last
 * command is the oldest.
 */
import type { FailureReason, KvResult } from "./result.ts";
import { entryBytes, type KvLimits, resultOverheadBytes } from "./limits.ts";
import type { SessionHeader } from "./command.ts";

export interface Session {
  readonly id: number;
  /** Results up to this sequence are forgotten. */
  acknowledged: number;
  readonly results: Map<number, KvResult>;
  bytes: number;
}

/** What a session is charged beside its results. */
const sessionOverheadBytes = 128;

export class Sessions {
  /** The least recently used first. */
  readonly #byId = new Map<number, Session>();
  /** The newest that was ever opened. */
  lastId = 0;
  #bytes = 0;
  /** The one at the end of the row. */
  #newest = 0;

  get size(): number {
    return this.#byId.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(id: number): boolean {
    return this.#byId.has(id);
  }

  all(): IterableIterator<Session> {
    return this.#byId.values();
  }

  open(id: number, limits: KvLimits): void {
    this.lastId = id;
    this.insert({ id, acknowledged: 0, results: new Map(), bytes: 0 });
    this.#evict(limits);
  }

  /** Adds a session as it is, the most recently used one. */
  insert(session: Session): void {
    session.bytes = sessionOverheadBytes;
    for (const result of session.results.values()) session.bytes += resultBytes(result);
    this.#byId.set(session.id, session);
    this.#newest = session.id;
    this.#bytes += session.bytes;
  }

  close(id: number): void {
    const session = this.#byId.get(id);
    if (session === undefined) return;
    this.#byId.delete(id);
    this.#bytes -= session.bytes;
  }

  /** The session that is to apply the command, the result it has already, or why not. */
  begin(header: SessionHeader, limits: KvLimits): Session | KvResult | FailureReason {
    const session = this.#byId.get(header.session);
    if (session === undefined) {
      return header.session <= this.lastId && header.session > 0
        ? "session_expired"
        : "session_unknown";
    }
    if (this.#newest !== session.id) {
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
    for (const session of this.#byId.values()) {
      const tooMany = this.#byId.size > limits.sessionsMax || this.#bytes > limits.sessionBytesMax;
      if (!tooMany || this.#byId.size === 1) return;
      this.close(session.id);
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
