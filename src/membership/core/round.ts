/**
 * How one configuration comes to its end: alerts until a cut is detected, then consensus on it. One
 * of these lives from a configuration's installation to the decision about the next one.
 */
import { AlertKind, Alerts, nextSequence, type Subject } from "./alerts.ts";
import { bitCount } from "./bitmap.ts";
import type { Configuration, Cut } from "./configuration.ts";
import { type Acceptor, Consensus, type Note, type Tally } from "./consensus.ts";
import { coordinatorOf } from "./coordinators.ts";
import { type Member, MemberRole } from "./member.ts";
import type { AlertFact, Gossip } from "./message.ts";
import type { ProtocolOptions } from "./options.ts";

/** Hears what is new, so that it is passed on. */
export interface RoundListener {
  alerted(subject: Subject, rings: number): void;
  noted(note: Note): void;
  tallied(tally: Tally, places: Iterable<number>): void;
}

/** A turn grows by the first one's length up to so many of them. */
const turnGrowthMost = 16;

/** Subjects are looked at so often, and not with every message, before they are reinforced. */
const looks = 16;

/** What this node itself says of somebody. */
interface OwnAlert {
  kind: AlertKind;
  readonly rings: number;
}

/** Own alerts that wait for the end of the window in which they are gathered. */
interface Gathered {
  readonly alerts: Map<Subject, OwnAlert>;
  untilMs: number;
}

export class Round {
  readonly configuration: Configuration;
  readonly alerts: Alerts;
  readonly consensus: Consensus;
  readonly #self: number;
  readonly #isVoter: boolean;
  readonly #options: ProtocolOptions;
  readonly #listener: RoundListener;
  readonly #gathered: readonly Gathered[] = [
    { alerts: new Map(), untilMs: Infinity },
    { alerts: new Map(), untilMs: Infinity },
  ];
  /** About whom this node is on record with something that it may not think. */
  readonly #contested = new Set<Subject>();
  /** When there was first something to do here. */
  #sinceMs = Infinity;
  /** When somebody first proposed something. */
  #begunMs = Infinity;
  /** Coordinators in their order, and how many of them had their turn. */
  #turns = 0;
  /** When the next one has its turn. */
  #turnMs = 0;
  #lostMs = Infinity;
  /** When those who wait for reinforcement are looked at again. */
  #lookMs = 0;
  /** When there were enough again. */
  #foundMs = -Infinity;
  #dueMs = Infinity;

  constructor(
    configuration: Configuration,
    self: number,
    acceptor: Acceptor,
    options: ProtocolOptions,
    listener: RoundListener,
  ) {
    this.configuration = configuration;
    this.#self = self;
    this.#options = options;
    this.#listener = listener;
    this.alerts = new Alerts(configuration, options, self);
    const voter = configuration.core.includes(self) ? self : undefined;
    this.#isVoter = voter !== undefined;
    this.consensus = new Consensus(configuration, voter, acceptor, options.twoMembers, listener);
  }

  /** When {@link work} has something to do although nothing happened. */
  get dueMs(): number {
    return this.#dueMs;
  }

  /** Since when a decision is due; Infinity while none is. */
  get begunMs(): number {
    return this.#begunMs;
  }

  /** Since when too few of those who decide are there, as the alerts say; Infinity while enough are. */
  get lostMs(): number {
    return this.#lostMs;
  }

  /** Says of a member whom this node observes that it is gone, leaves, or is there after all. */
  alert(place: number, kind: AlertKind, nowMs: number): void {
    this.#gather(this.alerts.member(place), kind, nowMs);
  }

  /** Lets somebody in whom this node is to let in; false when it is not, or there are too many. */
  admit(joiner: Member, kind: AlertKind, nowMs: number): boolean {
    const subject = this.alerts.joiner(joiner);
    if (subject === undefined || !subject.observers.includes(this.#self)) return false;
    this.#gather(subject, kind, nowMs);
    return true;
  }

  /** Takes over what somebody else knows; answers how much of it cannot be. */
  merge({ joiners, alerts, notes, tallies }: Gossip): number {
    let invalid = 0;
    for (const joiner of joiners) {
      if (this.alerts.joiner(joiner) === undefined) invalid++;
    }
    for (const alert of alerts) if (!this.#mergeAlert(alert)) invalid++;
    for (const note of notes) if (!this.#mergeNote(note)) invalid++;
    for (const { saying, places } of tallies) {
      if (!this.consensus.learn(saying, places)) invalid++;
    }
    return invalid;
  }

  /** Says whether there can be such alerts. */
  #mergeAlert({ place, joiner, rings }: AlertFact): boolean {
    const subject = place !== undefined
      ? this.configuration.members[place] === undefined ? undefined : this.alerts.member(place)
      : joiner !== undefined
      ? this.alerts.joinerOf(joiner)
      : undefined;
    if (subject === undefined) return false;
    let news = 0;
    let fits = true;
    let isOwn = false;
    for (let at = 0; at < rings.length; at += 2) {
      const [ring, sequence] = [rings[at], rings[at + 1]];
      if (!this.alerts.fits(subject, ring, sequence)) fits = false;
      else if (this.alerts.merge(subject, ring, sequence)) {
        news |= 1 << ring;
        isOwn ||= subject.observers[ring] === this.#self;
      }
    }
    if (isOwn) this.#contested.add(subject);
    if (news !== 0) this.#listener.alerted(subject, news);
    return fits;
  }

  /** Says whether it is about this configuration. */
  #mergeNote(note: Note): boolean {
    switch (note.kind) {
      case "cut":
        return this.consensus.learnCut(note.value, note.cut);
      case "prepare":
        return this.consensus.learnPrepare(note.rank);
      case "accept":
        return this.consensus.learnAccept(note.rank, note.value);
    }
  }

  /**
   * Subjects of which others know something that this node has said, but did not mean just now: before
   * it was restarted, or to reinforce what others say.
   */
  takeContested(): readonly Subject[] {
    if (this.#contested.size === 0) return nobody;
    const contested = [...this.#contested];
    this.#contested.clear();
    return contested;
  }

  /** What this node is on record with. */
  ownKind(subject: Subject): AlertKind {
    const ring = subject.observers.indexOf(this.#self);
    return (ring < 0 ? 0 : subject.sequences[ring] & AlertKind.leaving) as AlertKind;
  }

  /** Everything that is known, for somebody who knows nothing yet. */
  tell(listener: RoundListener): void {
    for (const subject of this.alerts.all()) {
      let rings = 0;
      subject.sequences.forEach((sequence, ring) => {
        if (sequence !== 0) rings |= 1 << ring;
      });
      if (rings !== 0) listener.alerted(subject, rings);
    }
    this.consensus.tell(listener);
  }

  /** Does what time and news have made due. */
  work(nowMs: number): void {
    this.#dueMs = Infinity;
    this.#sinceMs = Math.min(this.#sinceMs, nowMs);
    for (const gathered of this.#gathered) {
      if (nowMs >= gathered.untilMs) this.#flush(gathered);
      this.#due(gathered.untilMs);
    }
    // Those who promised before anybody proposed something still have to find what to ask for.
    if (!this.consensus.hasVoted || (this.#isVoter && this.consensus.cuts === 0)) {
      this.#detect(nowMs);
    }
    this.#judgeQuorum(nowMs);
    if (this.consensus.isBegun) this.#fallBack(nowMs);
    this.consensus.coordinate();
  }

  #due(atMs: number): void {
    this.#dueMs = Math.min(this.#dueMs, atMs);
  }

  #gather(subject: Subject, kind: AlertKind, nowMs: number): void {
    let rings = 0;
    subject.observers.forEach((observer, ring) => {
      if (observer === this.#self) rings |= 1 << ring;
    });
    if (rings === 0) return;
    const { batchMs } = this.#options;
    const gathered = this.#gathered[subject.joiner === undefined ? 0 : 1];
    if (gathered.alerts.size === 0) {
      const joinsMs = subject.joiner === undefined ? 0 : this.#joinsMs();
      gathered.untilMs = Math.max(nowMs + batchMs, Math.min(this.#sinceMs, nowMs) + joinsMs);
    }
    gathered.alerts.set(subject, { kind, rings });
    this.#due(gathered.untilMs);
  }

  /** Where many come one after the other they come in together: not each of them is a new view. */
  #joinsMs(): number {
    return this.configuration.size > this.#options.rings ? this.#options.joinsMs : 0;
  }

  #flush(gathered: Gathered): void {
    for (const [subject, { kind, rings }] of gathered.alerts) this.#say(subject, rings, kind);
    gathered.alerts.clear();
    gathered.untilMs = Infinity;
  }

  /** Says whether that was news. */
  #say(subject: Subject, rings: number, kind: AlertKind): boolean {
    let news = 0;
    for (let ring = 0; rings >>> ring !== 0; ring++) {
      if ((rings & (1 << ring)) === 0) continue;
      const sequence = subject.sequences[ring];
      if ((sequence & AlertKind.leaving) === kind) continue;
      // A leave is not taken back by a probe that is answered meanwhile.
      if ((sequence & AlertKind.leaving) === AlertKind.leaving) continue;
      this.alerts.merge(subject, ring, nextSequence(sequence, kind));
      news |= 1 << ring;
    }
    if (news !== 0) this.#listener.alerted(subject, news);
    return news !== 0;
  }

  #detect(nowMs: number): void {
    const { patienceMs } = this.#options;
    const { quorums } = this.consensus;
    let cut: Cut | undefined = this.alerts.detect(nowMs, quorums);
    if (cut === undefined && this.alerts.stable.size > 0) {
      // Those that are ready do not wait for ever while others come one after the other.
      const sinceMs = this.alerts.stableMs;
      if (nowMs >= sinceMs + patienceMs) cut = this.alerts.detect(nowMs, quorums, true);
      else this.#due(sinceMs + patienceMs);
    }
    // Where so many come back that there is a quorum again, more of them may be about to.
    const waitUntilMs = this.#foundMs + patienceMs;
    if (nowMs < waitUntilMs) this.#due(waitUntilMs);
    else if (cut !== undefined) return this.consensus.propose(cut);
    if (this.#lostMs === Infinity) this.#reinforce(nowMs);
  }

  /**
   * A subject that only some of its observers report holds up every cut. So after a while the others
   * report it, too (section 4.2 of the paper): of the members only the one that most rings report,
   * since those who cannot reach each other report each other, and one of them is to stay.
   *
   * In a small cluster those who fail together may be each other's observers on so many rings that
   * none of them ever gets enough. So for observers that are reported themselves, by whomever, the
   * others speak; and where all but they report a subject, it need not be unstable for that.
   */
  #reinforce(nowMs: number): void {
    const { reinforceMs } = this.#options;
    if (this.alerts.unstable.size + this.alerts.reported.size === 0) return;
    if (nowMs < this.#lookMs) return this.#due(this.#lookMs);
    this.#lookMs = nowMs + reinforceMs / looks;
    let worst: Subject | undefined;
    for (const subject of this.alerts.unstable) {
      const dueMs = subject.unstableMs! + reinforceMs;
      if (nowMs < dueMs) {
        // The others became unstable after it.
        this.#due(dueMs);
        break;
      }
      if (subject.joiner !== undefined) this.#echo(subject);
      else if (worst === undefined || isWorse(subject, worst)) worst = subject;
    }
    for (const subject of this.alerts.reported) {
      if (worst !== undefined || subject.raised === 0 || !this.#isDeserted(subject)) continue;
      const dueMs = subject.raisedMs! + reinforceMs;
      if (nowMs < dueMs) this.#due(dueMs);
      else worst = subject;
    }
    if (worst !== undefined) this.#echo(worst);
  }

  /** Nobody is left who would have to say more about it. */
  #isDeserted(subject: Subject): boolean {
    const silenced = this.alerts.silenced(subject);
    return silenced !== 0 && bitCount(subject.raised | silenced) === subject.observers.length;
  }

  #echo(subject: Subject): void {
    let rings = this.alerts.silenced(subject);
    subject.observers.forEach((observer, ring) => {
      if (observer === this.#self || this.#speaksFor(observer)) rings |= 1 << ring;
    });
    if (this.#say(subject, rings, AlertKind.raised)) this.#contested.add(subject);
  }

  /** Leaves are not told what others say: those who pass on what they say speak for them. */
  #speaksFor(place: number): boolean {
    const { address, role } = this.configuration.members[place];
    if (role !== MemberRole.leaf) return false;
    return this.configuration.anchorsOf(address, this.alerts.failing()).includes(this.#self);
  }

  /** Classic rounds, by one coordinator after the other, until something is decided. */
  #fallBack(nowMs: number): void {
    if (this.consensus.decided !== undefined) return;
    if (this.#begunMs === Infinity) this.#begunMs = nowMs;
    const { fallbackMs, roundMs } = this.#options;
    const failing = this.alerts.failing();
    const waitMs = this.consensus.canBeFast(failing) ? fallbackMs : 0;
    this.#turnMs = Math.max(this.#turnMs, this.#begunMs + waitMs);
    while (nowMs >= this.#turnMs) {
      const turn = this.#turns++;
      // Slow links and disks need longer: whoever comes next would only undo what is under way.
      this.#turnMs += roundMs * Math.min(this.#turns, turnGrowthMost);
      if (nowMs >= this.#turnMs) continue;
      const coordinator = coordinatorOf(this.configuration, turn, failing);
      if (coordinator === this.#self) this.consensus.begin(this.consensus.nextRound);
    }
    this.#due(this.#turnMs);
  }

  /** Too few are there for any decision, as far as the alerts say. */
  #judgeQuorum(nowMs: number): void {
    const isEnough = this.alerts.reported.size === 0 ||
      this.consensus.quorums.classicWithout(this.alerts.failing());
    if (!isEnough) this.#lostMs = Math.min(this.#lostMs, nowMs);
    else if (this.#lostMs !== Infinity) {
      this.#lostMs = Infinity;
      this.#foundMs = nowMs;
    }
  }
}

const nobody: readonly Subject[] = [];

function isWorse(a: Subject, b: Subject): boolean {
  const more = bitCount(a.raised) - bitCount(b.raised);
  return more > 0 || (more === 0 && a.place! > b.place!);
}
