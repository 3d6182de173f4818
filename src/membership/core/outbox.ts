/** What one neighbour has not been told yet of what is known of a configuration. */
import type { Subject } from "./alerts.ts";
import { Bitmap } from "./bitmap.ts";
import type { ConfigurationId, Cut } from "./configuration.ts";
import type { ConsensusListener, Note, Tally } from "./consensus.ts";
import type { Member } from "./member.ts";
import type { AlertFact, Gossip, TallyFact } from "./message.ts";

/** Alerts and places of one message; a large state goes in several. */
const itemsMax = 4_096;

/** Where the subjects of joiners are found. */
export interface Joiners {
  joinerOf(incarnation: bigint): Subject | undefined;
}

/** Beside the rings of a subject: it is no joiner, or the neighbour has its record. */
const introduced = 2 ** 31;

export class Outbox implements ConsensusListener {
  readonly #configuration: ConfigurationId;
  readonly #size: number;
  readonly #joiners: Joiners;
  /** By index of the subject: rings of which there are news, as bits, and {@link introduced}. */
  #states = new Uint32Array(16);
  /** Subjects with such rings, in the order in which they got the first one. */
  #untold: Subject[] = [];
  readonly #notes: Note[] = [];
  readonly #tallies = new Map<Tally, Bitmap>();

  constructor(configuration: ConfigurationId, size: number, joiners: Joiners) {
    this.#configuration = configuration;
    this.#size = size;
    this.#joiners = joiners;
  }

  get isEmpty(): boolean {
    return this.#untold.length === 0 && this.#notes.length === 0 && this.#tallies.size === 0;
  }

  alerted(subject: Subject, rings: number): void {
    this.#reach(subject);
    const state = this.#states[subject.index];
    if ((state & ~introduced) === 0) this.#untold.push(subject);
    this.#states[subject.index] = state | rings;
  }

  noted(note: Note): void {
    this.#notes.push(note);
  }

  tallied(tally: Tally, places: Iterable<number>): void {
    let pending = this.#tallies.get(tally);
    if (pending === undefined) {
      pending = new Bitmap(this.#size);
      this.#tallies.set(tally, pending);
    }
    for (const place of places) pending.add(place);
  }

  /** The neighbour has the record of this joiner: it sent it. */
  knows(subject: Subject): void {
    this.#reach(subject);
    this.#states[subject.index] |= introduced;
  }

  /** The next message; undefined when the neighbour was told all. */
  take(): Gossip | undefined {
    if (this.isEmpty) return undefined;
    const joiners: Member[] = [];
    const alerts: AlertFact[] = [];
    let left = itemsMax;
    let taken = 0;
    for (; taken < this.#untold.length && left > 0; taken++) {
      const subject = this.#untold[taken];
      const bits = this.#states[subject.index] & ~introduced;
      this.#states[subject.index] &= introduced;
      if (subject.joiner !== undefined) this.#introduce(subject, joiners);
      const rings: number[] = [];
      for (let ring = 0; bits >>> ring !== 0; ring++) {
        if ((bits & (1 << ring)) !== 0) rings.push(ring, subject.sequences[ring]);
      }
      alerts.push({ place: subject.place, joiner: subject.joiner?.incarnation, rings });
      left -= rings.length;
    }
    this.#untold = this.#untold.slice(taken);
    // Votes only go behind what they are for, and notes behind the alerts that they follow from.
    const notes = this.#untold.length === 0 ? this.#notes.splice(0) : [];
    for (const note of notes) if (note.kind === "cut") this.#introduceAll(note.cut, joiners);
    const tallies: TallyFact[] = [];
    if (this.#untold.length === 0) {
      for (const [{ saying }, pending] of this.#tallies) {
        tallies.push({ saying, places: [...pending] });
      }
      this.#tallies.clear();
    }
    return { kind: "gossip", configuration: this.#configuration, joiners, alerts, notes, tallies };
  }

  #introduceAll({ joined }: Cut, joiners: Member[]): void {
    for (const joiner of joined) {
      const subject = this.#joiners.joinerOf(joiner.incarnation);
      if (subject === undefined) joiners.push(joiner);
      else this.#introduce(subject, joiners);
    }
  }

  #introduce(subject: Subject, joiners: Member[]): void {
    this.#reach(subject);
    if ((this.#states[subject.index] & introduced) !== 0) return;
    this.#states[subject.index] |= introduced;
    joiners.push(subject.joiner!);
  }

  /** Makes room for what is kept of it. */
  #reach({ index }: Subject): void {
    if (index < this.#states.length) return;
    const states = new Uint32Array(1 << (32 - Math.clz32(index + 1)));
    states.set(this.#states);
    this.#states = states;
  }
}
