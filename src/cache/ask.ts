/**
 * A key that is asked of its owner. An owner that says nothing is asked whether it is there, long
 * before those who wait run out of time; one that is not, or that does not have the namespace, is
 * replaced by the own source, or by the next member where there is none.
 */
import type { Alarm } from "./alarm.ts";
import type { CacheCounters } from "./counters.ts";
import type { CacheMember } from "./cluster.ts";
import type { CacheSettings } from "./options.ts";
import { CallStop } from "./call_stop.ts";
import type { Clock } from "../runtime/port.ts";
import { Code, CoveyError } from "../base/error.ts";
import { Flight, type Waiter } from "./flight.ts";
import type { GetResponse } from "../gen/covey/cache/v1/cache_pb.ts";
import { cacheReasonOf, isFinal, refused } from "./refusal.ts";
import type { Owners } from "./owners.ts";

/** What a question needs of its node. */
export interface AskParts {
  readonly alarm: Alarm;
  readonly clock: Clock;
  readonly counters: CacheCounters;
  readonly owners: Owners;
  readonly settings: CacheSettings;
}

/** What a question needs of its namespace. */
export interface AskHome {
  readonly name: string;
  readonly asks: Map<string, Ask>;
  /** This node has a source. */
  readonly hasSource: boolean;
  /** Takes the owner's answer, may keep a copy, and says until when it holds. */
  answered(ask: Ask, value: Uint8Array, ttlMillis: number): number;
  /** Lets somebody wait for this node's own source. */
  fillHere(key: string, waiter: Waiter): void;
  /** Whom to ask now, without those that were asked in vain; undefined: nobody, or this node. */
  whomToAsk(key: string, tried: ReadonlySet<string>): CacheMember | undefined;
  isCandidate(member: CacheMember): boolean;
}

/** Members that are asked for one key, one after the other. */
const membersMax = 3;
/** An owner's silence may cost this part of the time that a caller has, twice. */
const patienceParts = 4;

export class Ask extends Flight {
  readonly #parts: AskParts;
  readonly #home: AskHome;
  /** Node ids of members that were asked in vain. */
  #tried: Set<string> | undefined = undefined;
  #member: CacheMember | undefined = undefined;
  #stopper: CallStop | undefined = undefined;
  /** An owner is asked whether it is there. */
  #probing = false;
  /** Since when it says nothing. */
  #sinceMs = 0;
  #patienceMs: number;
  #untilMs = Infinity;

  constructor(parts: AskParts, home: AskHome, key: string) {
    super(parts.alarm, key);
    this.#parts = parts;
    this.#home = home;
    this.#patienceMs = parts.settings.ownerTimeoutMs;
    home.asks.set(key, this);
  }

  /** To be called once somebody waits. */
  start(member: CacheMember): void {
    const { clock, settings } = this.#parts;
    const nowMs = clock.monotonicMs();
    // The owner's own time for the fill, and what may be lost until it is asked.
    this.#untilMs = nowMs + settings.fillTimeoutMs + 2 * settings.ownerTimeoutMs;
    this.begin();
    this.#call(member, nowMs);
  }

  override join(waiter: Waiter): void {
    super.join(waiter);
    if (waiter.deadlineMs === Infinity) return;
    const leftMs = waiter.deadlineMs - this.#parts.clock.monotonicMs();
    const patienceMs = Math.max(1, leftMs / patienceParts);
    if (patienceMs >= this.#patienceMs) return;
    this.#patienceMs = patienceMs;
    if (this.#member !== undefined) this.hurry(this.#sinceMs + patienceMs);
  }

  /** The view, or what members offer, has changed. */
  moved(): void {
    if (this.over || this.#member === undefined || this.#home.isCandidate(this.#member)) return;
    this.#elsewhere(undefined);
  }

  #call(member: CacheMember, nowMs: number): void {
    const { owners } = this.#parts;
    this.#member = member;
    this.#probing = false;
    this.#sinceMs = nowMs;
    const { signal } = this.#stopper = new CallStop();
    this.hurry(nowMs + this.#patienceMs);
    owners.client(member).get(owners.request(this.#home.name, this.key), { signal }).then(
      (response) => {
        if (this.#member === member && !this.over) this.#answered(response);
      },
      (error: unknown) => {
        if (this.#member === member && !this.over) this.#refused(member, error);
      },
    );
  }

  #answered({ value, ttlMillis }: GetResponse): void {
    this.#parts.counters.asked++;
    this.done(value, this.#home.answered(this, value, ttlMillis));
  }

  #refused(member: CacheMember, thrown: unknown): void {
    const error = CoveyError.from(thrown, Code.internal);
    if (isFinal(error)) {
      this.failed(error);
      return;
    }
    // Whoever says why is there; a node that stops says so, too, and then it is not.
    const reason = cacheReasonOf(error);
    if (reason === undefined || reason === "stopping") this.#parts.owners.suspect(member);
    this.#elsewhere(error);
  }

  /** Somebody else has to give it. */
  #elsewhere(error: CoveyError | undefined): void {
    const home = this.#home;
    const tried = this.#tried ??= new Set();
    tried.add(this.#member!.nodeId);
    this.#stopCall();
    const next = tried.size < membersMax ? home.whomToAsk(this.key, tried) : undefined;
    // With a source of its own a node asks one owner, and another one only if the view has changed.
    if (next !== undefined && (!home.hasSource || error === undefined)) {
      this.#call(next, this.#parts.clock.monotonicMs());
    } else if (home.hasSource) {
      this.#parts.counters.fallbacks++;
      this.handOver((waiter) => home.fillHere(this.key, waiter));
    } else {
      const why = error === undefined ? "" : `: ${error.rawMessage}`;
      this.failed(
        refused("no_owner", `no member with a source for ${home.name} could be asked${why}`),
      );
    }
  }

  #stopCall(): void {
    this.#member = undefined;
    this.#stopper?.abort();
    this.#stopper = undefined;
  }

  protected override ended(): void {
    if (this.#home.asks.get(this.key) === this) this.#home.asks.delete(this.key);
  }

  protected override abandoned(): void {
    this.#stopCall();
  }

  protected override work(nowMs: number): number {
    if (nowMs >= this.#untilMs) {
      this.stop(refused("fill_timeout", `the owner of the key did not give its value in time`));
      return Infinity;
    }
    if (nowMs >= this.#sinceMs + this.#patienceMs) {
      if (this.#probing) {
        this.#silent();
        if (this.over) return Infinity;
      } else this.#probe(this.#member!, nowMs);
    }
    return Math.min(this.#untilMs, this.#sinceMs + this.#patienceMs);
  }

  /** Its source may be slow. Its answer to this is not. */
  #probe(member: CacheMember, nowMs: number): void {
    const { clock, owners } = this.#parts;
    this.#probing = true;
    this.#sinceMs = nowMs;
    const request = { namespace: this.#home.name, key: this.key };
    const isMeant = () => this.#member === member && this.#probing && !this.over;
    owners.client(member).peek(request, { timeoutMs: 2 * this.#patienceMs }).then(
      () => {
        if (!isMeant()) return;
        this.#probing = false;
        this.#sinceMs = clock.monotonicMs();
      },
      () => {
        // The question itself fails likewise, or this does when its time is over.
        if (isMeant()) this.#silent();
      },
    );
  }

  #silent(): void {
    const { counters, owners } = this.#parts;
    counters.ownersSilent++;
    owners.suspect(this.#member!);
    this.#elsewhere(new CoveyError(Code.unavailable, "the owner of the key does not answer"));
  }
}
