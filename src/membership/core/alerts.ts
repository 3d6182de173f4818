/**
 * Alerts, and what they say together: multi-process cut detection (section 4.2 of the paper).
 *
 * The observer of a subject on a ring says that it is gone, or wants to join. A subject is counted by
 * the rings that say so. Below L it is noise. From L on but below H it is unstable, and nothing is
 * proposed while there is such a one: what fails together leaves together. With H rings it is stable.
 * A cut is detected as soon as somebody is stable and nobody is unstable.
 *
 * Three rules say whose rings count:
 *
 * - Where a subject has several observers, one of them alone is noise, on however many rings: in a
 *   small cluster a member stands for several, and one bad link must not evict anybody.
 * - Who is said to be gone by H rings is believed nothing about others: a member that hears nobody
 *   says that everybody is gone. Who leaves is believed as long as it is there.
 * - A subject whose observers fail themselves may never get its H rings. So an unstable subject is
 *   stable, too, when each of its observers says so, or is unstable or stable itself, until nothing
 *   changes. While one that is there does not say so, it is waited for. Then whoever is unstable only
 *   because of those that are stable is not unstable: the others go without it.
 * - A member does not take itself for one that is gone, whatever is said of it.
 *
 * Each pair of a subject and a ring is written by one member alone, with rising numbers whose lowest
 * bits say what the alert is; the highest number counts. So alerts can be merged in any order, from
 * anybody, any number of times, and everybody who has the same ones detects the same cut.
 */
import { bitCount, Bitmap } from "./bitmap.ts";
import type { Configuration, Cut } from "./configuration.ts";
import { compareAddresses, type Member, MemberRole } from "./member.ts";
import type { Quorums } from "./quorums.ts";

export interface CutLimits {
  /** H: rings from which on a subject is reported by enough. */
  readonly high: number;
  /** L: rings from which on a subject holds up a cut. */
  readonly low: number;
  /** Joiners about whom something is kept: a table that strangers fill has a bound. */
  readonly joinersMax: number;
}

/** What an alert says: the lowest bits of its number. */
export const AlertKind = {
  withdrawn: 0,
  /** A member does not answer, or somebody wants to join. */
  raised: 1,
  /** A member does not answer, and neither does anybody else: it is no evidence. */
  unheard: 2,
  /** A member that may well be there leaves, or is sent away. */
  leaving: 3,
} as const;
export type AlertKind = (typeof AlertKind)[keyof typeof AlertKind];

const kindBits = 2;
/** Nobody changes its mind so often; what follows on this one still fits. */
const sequenceMost = 2 ** 30;

export function sequenceOf(count: number, kind: AlertKind): number {
  return count << kindBits | kind;
}

/** The number of the next alert of this pair. */
export function nextSequence(sequence: number, kind: AlertKind): number {
  return sequenceOf((sequence >>> kindBits) + 1, kind);
}

const Standing = { noise: 0, unstable: 1, stable: 2 } as const;
type Standing = (typeof Standing)[keyof typeof Standing];

/** Somebody about whom there are alerts. */
export interface Subject {
  /** Of a member that is said to be gone; undefined of a joiner. */
  readonly place: number | undefined;
  /** Who wants to join; undefined of a member. */
  readonly joiner: Member | undefined;
  /** Counts up from 0: tables of subjects are arrays. */
  readonly index: number;
  /** Places of those who observe it, by ring. */
  readonly observers: readonly number[];
  /** Per ring; 0 while nothing was said. */
  readonly sequences: Uint32Array;
  /** Rings that say it now, as bits. */
  readonly raised: number;
  /** Rings whose observers hear nobody, as bits. */
  readonly unheard: number;
  /** Since when anybody says it; undefined while nobody does. */
  readonly raisedMs: number | undefined;
  /** Since when it is unstable; undefined while it is not. */
  readonly unstableMs: number | undefined;
  /** Since when it is stable; undefined while it is not. */
  readonly stableMs: number | undefined;
}

class OneSubject implements Subject {
  readonly place: number | undefined;
  readonly joiner: Member | undefined;
  readonly index: number;
  readonly observers: readonly number[];
  readonly sequences: Uint32Array;
  raised = 0;
  unheard = 0;
  raisedMs: number | undefined = undefined;
  standing: Standing = Standing.noise;
  /** H rings say so, whoever they are. */
  isAccused = false;
  unstableMs: number | undefined = undefined;
  stableMs: number | undefined = undefined;

  constructor(
    place: number | undefined,
    joiner: Member | undefined,
    index: number,
    observers: readonly number[],
  ) {
    this.index = index;
    this.place = place;
    this.joiner = joiner;
    this.observers = observers;
    this.sequences = new Uint32Array(observers.length);
  }

  get isLeaving(): boolean {
    return this.sequences.some((sequence) => (sequence & AlertKind.leaving) === AlertKind.leaving);
  }
}

export class Alerts {
  readonly #configuration: Configuration;
  readonly #limits: CutLimits;
  readonly #members = new Map<number, OneSubject>();
  /** By incarnation. */
  readonly #joiners = new Map<bigint, OneSubject>();
  /** Subjects so far. */
  #made = 0;
  readonly #dirty = new Set<OneSubject>();
  readonly #unstable = new Set<OneSubject>();
  readonly #stable = new Set<OneSubject>();
  /** Places of members that are unstable or stable. */
  readonly #failing: Bitmap;
  /** Those of them that may not be there: leavers are, and so is this member. */
  readonly #gone: Bitmap;
  /** Stable for longest, while that is known. */
  #oldest: OneSubject | undefined = undefined;
  /** Members who do not answer somebody. */
  readonly #reported = new Set<OneSubject>();

  readonly #self: number | undefined;

  /** `self`: the own place, of a member. */
  constructor(configuration: Configuration, limits: CutLimits, self?: number) {
    this.#configuration = configuration;
    this.#limits = limits;
    this.#self = self;
    this.#failing = new Bitmap(configuration.size);
    this.#gone = new Bitmap(configuration.size);
  }

  /** Of a member, made if need be. */
  member(place: number): Subject {
    let subject = this.#members.get(place);
    if (subject === undefined) {
      const observers = this.#configuration.observersOf(place);
      subject = new OneSubject(place, undefined, this.#made++, observers);
      this.#members.set(place, subject);
    }
    return subject;
  }

  /** Of somebody who wants to join, made if need be; undefined where there are too many. */
  joiner(joiner: Member): Subject | undefined {
    let subject = this.#joiners.get(joiner.incarnation);
    if (subject === undefined) {
      if (this.#joiners.size >= this.#limits.joinersMax && !this.#forgetJoiner()) return undefined;
      const gatekeepers = this.#configuration.gatekeepersOf(joiner.address);
      subject = new OneSubject(undefined, joiner, this.#made++, gatekeepers);
      this.#joiners.set(joiner.incarnation, subject);
    }
    return subject;
  }

  joinerOf(incarnation: bigint): Subject | undefined {
    return this.#joiners.get(incarnation);
  }

  /** Joiners that are known. */
  get joiners(): number {
    return this.#joiners.size;
  }

  /** All about whom anything was said. */
  *all(): Generator<Subject> {
    yield* this.#members.values();
    yield* this.#joiners.values();
  }

  /** Those that hold up a cut, as of the last {@link detect}, in the order in which they began to. */
  get unstable(): ReadonlySet<Subject> {
    return this.#unstable;
  }

  get stable(): ReadonlySet<Subject> {
    return this.#stable;
  }

  /** Other members that are unstable or stable and do not leave, as of the last {@link detect}. */
  failing(): Bitmap {
    return this.#gone;
  }

  /** Since when the first of those that are stable is; Infinity while nobody is. */
  get stableMs(): number {
    if (this.#oldest?.stableMs === undefined) {
      this.#oldest = undefined;
      for (const subject of this.#stable) {
        if (subject.stableMs! < (this.#oldest?.stableMs ?? Infinity)) this.#oldest = subject;
      }
    }
    return this.#oldest?.stableMs ?? Infinity;
  }

  /** Members who do not answer somebody, or leave. */
  get reported(): ReadonlySet<Subject> {
    return this.#reported;
  }

  /** Whether there can be such an alert. */
  fits({ observers }: Subject, ring: number, sequence: number): boolean {
    return Number.isInteger(ring) && ring >= 0 && ring < observers.length &&
      Number.isInteger(sequence) && sequence > 0 && sequence <= sequenceMost;
  }

  /** Of one that {@link fits}; says whether it is news. */
  merge(subject: Subject, ring: number, sequence: number): boolean {
    if (sequence <= subject.sequences[ring]) return false;
    subject.sequences[ring] = sequence;
    const one = subject as OneSubject;
    const bit = 1 << ring;
    one.raised = (sequence & AlertKind.raised) !== 0 ? one.raised | bit : one.raised & ~bit;
    const isUnheard = (sequence & AlertKind.leaving) === AlertKind.unheard;
    one.unheard = isUnheard ? one.unheard | bit : one.unheard & ~bit;
    if ((one.raised | one.unheard) === 0) this.#reported.delete(one);
    else if (one.place !== undefined) this.#reported.add(one);
    this.#dirty.add(one);
    return true;
  }

  /**
   * Rings of observers who never said anything about this subject, and about whom somebody says
   * something: they may not be there to say it.
   */
  silenced({ sequences, observers }: Subject): number {
    let rings = 0;
    for (let ring = 0; ring < observers.length; ring++) {
      if (sequences[ring] !== 0) continue;
      if ((this.#members.get(observers[ring])?.raised ?? 0) !== 0) rings |= 1 << ring;
    }
    return rings;
  }

  /**
   * The cut of everybody who is stable; undefined while there is none, or somebody is unstable. With
   * `withoutJoiners` nobody waits for joiners that are unstable.
   */
  detect(nowMs: number, quorums: Quorums, withoutJoiners = false): Cut | undefined {
    this.#classify(nowMs);
    if (this.#stable.size === 0) return undefined;
    for (const subject of this.#unstable) {
      if (subject.joiner !== undefined ? !withoutJoiners : !this.#isSelf(subject)) return undefined;
    }
    return this.#cut(quorums);
  }

  #classify(nowMs: number): void {
    if (this.#dirty.size === 0) return;
    let isCredibilityNew = false;
    for (const subject of this.#dirty) {
      const isAccused = subject.place !== undefined && !subject.isLeaving &&
        this.#standingOf(subject, subject.raised) === Standing.stable;
      isCredibilityNew ||= isAccused !== subject.isAccused;
      subject.isAccused = isAccused;
    }
    if (isCredibilityNew) {
      for (const subject of this.#members.values()) this.#dirty.add(subject);
      for (const subject of this.#joiners.values()) this.#dirty.add(subject);
    }
    const moved = [...this.#dirty];
    this.#dirty.clear();
    for (const subject of moved) {
      const believed = subject.isAccused ? subject.raised : this.#believed(subject);
      this.#stand(subject, this.#standingOf(subject, believed));
    }
    // Without a member that fails nothing is implied, however many joiners there are.
    for (let changed = this.#failing.size > 0; changed;) {
      changed = false;
      for (const subject of this.#unstable) {
        if (this.#isDoubted(subject)) continue;
        this.#stand(subject, Standing.stable);
        moved.push(subject);
        // What is said of it counts as before once that changes.
        this.#dirty.add(subject);
        changed = true;
      }
    }
    for (const subject of this.#failing.size > 0 ? this.#unstable : []) {
      const rest = this.#standingOf(subject, this.#withoutStable(subject));
      if (rest !== Standing.noise) continue;
      this.#stand(subject, rest);
      moved.push(subject);
      this.#dirty.add(subject);
    }
    for (const subject of moved) {
      settle(subject, nowMs);
      const { place, standing } = subject;
      if (place === undefined || place === this.#self) continue;
      if (standing === Standing.noise || subject.isLeaving) this.#gone.delete(place);
      else this.#gone.add(place);
    }
  }

  #isSelf(subject: OneSubject): boolean {
    return subject.place !== undefined && subject.place === this.#self && !subject.isLeaving;
  }

  /** One that nobody lets in any more makes room for another. */
  #forgetJoiner(): boolean {
    for (const [incarnation, subject] of this.#joiners) {
      if (subject.raised !== 0) continue;
      this.#joiners.delete(incarnation);
      for (const set of [this.#dirty, this.#unstable, this.#stable]) set.delete(subject);
      return true;
    }
    return false;
  }

  /** Without the rings of those whom nobody believes. */
  #believed({ raised, observers }: OneSubject): number {
    let believed = raised;
    for (let ring = 0; believed >>> ring !== 0; ring++) {
      if (this.#members.get(observers[ring])?.isAccused === true) believed &= ~(1 << ring);
    }
    return believed;
  }

  /** Whether one of its observers could say it, and does not. */
  #isDoubted({ raised, observers }: OneSubject): boolean {
    return observers.some((observer, ring) =>
      (raised & (1 << ring)) === 0 &&
      (this.#members.get(observer)?.standing ?? Standing.noise) === Standing.noise
    );
  }

  /** Without the rings of those who are stable. */
  #withoutStable({ raised, observers }: OneSubject): number {
    let believed = raised;
    for (let ring = 0; believed >>> ring !== 0; ring++) {
      const observer = this.#members.get(observers[ring]);
      if (observer?.standing === Standing.stable) believed &= ~(1 << ring);
    }
    return believed;
  }

  #standingOf({ observers }: OneSubject, rings: number): Standing {
    const count = bitCount(rings);
    if (count < this.#limits.low) return Standing.noise;
    const first = observers[31 - Math.clz32(rings)];
    const isOne = observers.every((observer, ring) =>
      (rings & (1 << ring)) === 0 || observer === first
    );
    if (isOne && observers.some((observer) => observer !== first)) return Standing.noise;
    return count >= this.#limits.high ? Standing.stable : Standing.unstable;
  }

  #stand(subject: OneSubject, standing: Standing): void {
    if (subject.standing === standing) return;
    subject.standing = standing;
    if (subject.place !== undefined) {
      if (standing === Standing.noise) this.#failing.delete(subject.place);
      else this.#failing.add(subject.place);
    }
    if (standing === Standing.stable) this.#stable.add(subject);
    else this.#stable.delete(subject);
    if (standing === Standing.unstable) this.#unstable.add(subject);
    else this.#unstable.delete(subject);
  }

  #cut(quorums: Quorums): Cut | undefined {
    const left: number[] = [];
    const joiners: Member[] = [];
    // Who leaves by his own will is there to decide it; all others must be able to without those gone.
    const silent = new Bitmap(this.#configuration.size);
    for (const subject of this.#stable) {
      if (subject.joiner !== undefined) joiners.push(subject.joiner);
      if (subject.place === undefined || this.#isSelf(subject)) continue;
      left.push(subject.place);
      if (!subject.isLeaving) silent.add(subject.place);
    }
    if (!quorums.classicWithout(silent)) return undefined;
    left.sort((a, b) => a - b);
    const cut = this.#cutOf(joiners, left);
    return this.#configuration.problemOf(cut) === undefined ? cut : undefined;
  }

  /** When all who decide want to leave at once, they have to stay until others decide. */
  #cutOf(joiners: Member[], left: readonly number[]): Cut {
    const cut = { joined: this.#chosen(joiners, new Set(left)), left };
    const { core, members } = this.#configuration;
    const isDecided = core.some((place) => !left.includes(place)) ||
      cut.joined.some(({ role }) => role === MemberRole.core);
    if (isDecided) return cut;
    const others = left.filter((place) =>
      members[place].role !== MemberRole.core || !this.#members.get(place)!.isLeaving
    );
    return { joined: this.#chosen(joiners, new Set(others)), left: others };
  }

  /** Of those that came at once with one name or address everybody takes the same one. */
  #chosen(joiners: Member[], leaving: ReadonlySet<number>): Member[] {
    if (joiners.length === 0) return [];
    const configuration = this.#configuration;
    const stays = (place: number | undefined): boolean =>
      place !== undefined && !leaving.has(place);
    const taken = new Set<string>();
    joiners.sort((a, b) =>
      compareAddresses(a.address, b.address) || (a.incarnation < b.incarnation ? -1 : 1)
    );
    return joiners.filter((joiner) => {
      const { address, name, nodeId } = joiner;
      if (stays(configuration.placeOf(address)) || stays(configuration.placeOfName(name))) {
        return false;
      }
      if (stays(configuration.placeOfNode(nodeId))) return false;
      const own = ownOf(joiner);
      if (own.some((text) => taken.has(text))) return false;
      for (const text of own) taken.add(text);
      return true;
    });
  }
}

/** Notes since when a subject stands as it does now. */
function settle(subject: OneSubject, nowMs: number): void {
  const { standing } = subject;
  subject.raisedMs = subject.raised === 0 ? undefined : subject.raisedMs ?? nowMs;
  subject.stableMs = standing === Standing.stable ? subject.stableMs ?? nowMs : undefined;
  subject.unstableMs = standing === Standing.unstable ? subject.unstableMs ?? nowMs : undefined;
}

/** What nobody shares with another member. */
function ownOf({ address, name, nodeId }: Member): string[] {
  return [`a${address}`, `n${name}`, `i${nodeId}`];
}
