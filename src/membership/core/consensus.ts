/**
 * Agreement on the next configuration: Fast Paxos with a classic recovery (section 4.3 of the paper),
 * one instance per configuration, over its core members.
 *
 * What members have said is a state that only grows, and is merged from whoever passes it on: who
 * voted for what, who promised what, what a coordinator asks for, who accepted it. Each member's part
 * is written by nobody else, so nothing needs an order, an address or an answer, and what comes twice
 * or late changes nothing. A value is the digest of the configuration that a cut would make.
 *
 * A member's own part is on its disk before it is in the state:
 *
 * - fast round: one vote, for the first cut that it sees as detected, unless it has promised.
 * - prepare of rank r: with r above what it promised it promises, and says with it what it voted for
 *   or accepted last. It never votes fast after that.
 * - accept of rank r: with r not below what it promised it accepts.
 *
 * Decided is what a fast quorum of N-⌊(N-1)/4⌋ voted for, or a majority accepted at one rank. Late
 * votes change nothing: the decision is the state's, whoever looks.
 */
import { assert } from "../../base/assert.ts";
import { Bitmap } from "./bitmap.ts";
import type { Configuration, Cut } from "./configuration.ts";
import { Quorums, type TwoMembers } from "./quorums.ts";

/** A round and the place of who coordinates it, in one number; see {@link rankOf}. */
export type Rank = number;
/** Nothing yet. */
export const noRank: Rank = 0;
const placesMost = 1 << 16;
/** That of the fast round. */
export const fastRank: Rank = placesMost;

export function rankOf(round: number, place: number): Rank {
  return round * placesMost + place;
}

export function roundOf(rank: Rank): number {
  return Math.floor(rank / placesMost);
}

export function placeOf(rank: Rank): number {
  return rank % placesMost;
}

/** What a member must not forget. */
export interface Acceptor {
  readonly promised: Rank;
  /** The rank at which it voted or accepted last, and for what. */
  readonly voted: Rank;
  readonly value: bigint;
  /** What the value stands for. */
  readonly cut: Cut | undefined;
}

export const freshAcceptor: Acceptor = {
  promised: noRank,
  voted: noRank,
  value: 0n,
  cut: undefined,
};

/** What a member may say of its own part. */
export type Saying =
  | { readonly kind: "vote"; readonly value: bigint }
  | {
    readonly kind: "promise";
    readonly rank: Rank;
    readonly voted: Rank;
    readonly value: bigint;
  }
  | { readonly kind: "accepted"; readonly rank: Rank; readonly value: bigint };

/** Who said the same. */
export interface Tally {
  readonly saying: Saying;
  readonly from: Bitmap;
}

/** What one member says to all. */
export type Note =
  | { readonly kind: "cut"; readonly value: bigint; readonly cut: Cut }
  | { readonly kind: "prepare"; readonly rank: Rank }
  | { readonly kind: "accept"; readonly rank: Rank; readonly value: bigint };

/** Hears what is new, so that it is passed on. */
export interface ConsensusListener {
  /** The places are new in this tally. */
  tallied(tally: Tally, places: Iterable<number>): void;
  noted(note: Note): void;
}

/** What some of those who promised had voted for. */
interface Promised {
  readonly voted: Rank;
  readonly value: bigint;
  readonly from: Bitmap;
}

/** One that is coordinated here. */
interface Coordinated {
  readonly rank: Rank;
  isAsked: boolean;
}

/** Ranks behind the newest one of which something is kept. */
const ranksKept = 4;
/** More rounds than that there are not in a lifetime, and a rank stays a whole number. */
const roundsMost = 2 ** 31;
/** Each member proposes one cut in a configuration, and perhaps another one after a crash. */
const cutsPerMember = 4;
const cutsLeast = 64;

function keyOf(saying: Saying): string {
  switch (saying.kind) {
    case "vote":
      return `v${saying.value}`;
    case "promise":
      return `p${saying.rank}/${saying.voted}/${saying.value}`;
    case "accepted":
      return `a${saying.rank}/${saying.value}`;
  }
}

export class Consensus {
  readonly #configuration: Configuration;
  readonly #self: number | undefined;
  readonly #listener: ConsensusListener;
  readonly #quorums: Quorums;
  #acceptor: Acceptor;
  /** Changes of the acceptor, and how many of them are on the disk. */
  #changes = 0;
  /** What is to be said once this many are. */
  readonly #sayings: { readonly after: number; readonly saying: Saying }[] = [];
  readonly #cuts = new Map<bigint, Cut>();
  readonly #tallies = new Map<string, Tally>();
  /** Who said anything in the fast round, or at a rank: nobody says two things. */
  readonly #spoken = new Map<string, Bitmap>();
  #prepared: Rank = noRank;
  readonly #asked = new Map<Rank, bigint>();
  #coordinated: Coordinated | undefined = undefined;
  #decided: bigint | undefined = undefined;

  constructor(
    configuration: Configuration,
    /** The own place; undefined of one that does not vote. */
    self: number | undefined,
    /** As it was read from the disk. */
    acceptor: Acceptor,
    twoMembers: TwoMembers,
    listener: ConsensusListener,
  ) {
    this.#configuration = configuration;
    this.#self = self;
    this.#acceptor = acceptor;
    this.#listener = listener;
    this.#quorums = new Quorums(configuration.core, configuration.size, twoMembers);
    if (roundOf(acceptor.promised) > 1) this.#prepared = acceptor.promised;
    if (self !== undefined && acceptor.voted !== noRank) this.#repeat(self, acceptor);
    this.#decide();
  }

  /** To be on the disk before {@link stored} is called with the number of its changes. */
  get acceptor(): Acceptor {
    return this.#acceptor;
  }

  get changes(): number {
    return this.#changes;
  }

  /** Somebody proposed something. */
  get isBegun(): boolean {
    return this.#cuts.size > 0 || this.#tallies.size > 0 || this.#prepared !== noRank;
  }

  /** Different cuts that were proposed. */
  get cuts(): number {
    return this.#cuts.size;
  }

  /** Different things that were said. */
  get tallies(): number {
    return this.#tallies.size;
  }

  /** The cut that was decided, once it is known what it is. */
  get decision(): Cut | undefined {
    return this.#decided === undefined ? undefined : this.#cuts.get(this.#decided);
  }

  /** Whether it voted in the fast round, or may not any more. */
  get hasVoted(): boolean {
    return this.#self === undefined || this.#acceptor.promised !== noRank;
  }

  /** The round after every one that is known. */
  get nextRound(): number {
    return Math.max(roundOf(Math.max(this.#prepared, this.#acceptor.promised)), 1) + 1;
  }

  /** Whether the fast round can still decide without these. */
  canBeFast(without: Bitmap): boolean {
    return this.#quorums.fastWithout(without);
  }

  /** The own detection's cut: the vote of the fast round, unless it is too late for one. */
  propose(cut: Cut): void {
    const value = this.#configuration.digestAfter(cut);
    this.learnCut(value, cut);
    if (this.hasVoted) return;
    const acceptor = { promised: fastRank, voted: fastRank, value, cut };
    this.#change(acceptor, { kind: "vote", value });
  }

  /** Coordinates a round: to be asked for only after those before it had their time. */
  begin(round: number): void {
    if (this.#self === undefined || this.#decided !== undefined) return;
    const rank = rankOf(round, this.#self);
    if (rank <= this.#acceptor.promised || rank <= this.#prepared) return;
    this.#coordinated = { rank, isAsked: false };
    // Its own promise is on the disk before anybody hears of the rank, so that it is never used twice.
    this.#promise(rank);
  }

  /** So many changes of the acceptor are on the disk. */
  stored(changes: number): void {
    while (this.#sayings.length > 0 && this.#sayings[0].after <= changes) {
      const { saying } = this.#sayings.shift()!;
      if (saying.kind === "promise" && saying.rank === this.#coordinated?.rank) {
        this.learnPrepare(saying.rank);
      }
      this.learn(saying, [this.#self!]);
    }
  }

  /** Says whether it fits; what does not is no cut of this configuration. */
  learnCut(value: bigint, cut: Cut): boolean {
    if (this.#cuts.has(value)) return true;
    const most = Math.max(cutsLeast, cutsPerMember * this.#configuration.core.length);
    if (this.#cuts.size >= most || this.#configuration.problemOf(cut) !== undefined) return false;
    if (this.#configuration.digestAfter(cut) !== value) return false;
    this.#cuts.set(value, cut);
    this.#listener.noted({ kind: "cut", value, cut });
    this.#work();
    return true;
  }

  /** Says whether there is such a rank. */
  learnPrepare(rank: Rank): boolean {
    if (!this.#isRank(rank)) return false;
    if (rank <= this.#prepared) return true;
    this.#prepared = rank;
    this.#forget();
    this.#listener.noted({ kind: "prepare", rank });
    if (this.#self !== undefined && rank > this.#acceptor.promised) this.#promise(rank);
    this.#work();
    return true;
  }

  /** Says whether there is such a rank. */
  learnAccept(rank: Rank, value: bigint): boolean {
    if (!this.#isRank(rank)) return false;
    if (this.#asked.has(rank) || this.#isOld(rank)) return true;
    this.#asked.set(rank, value);
    if (rank > this.#prepared) {
      this.#prepared = rank;
      this.#forget();
    }
    this.#listener.noted({ kind: "accept", rank, value });
    this.#work();
    return true;
  }

  /** Whoever spoke otherwise before is passed over. Says whether all of them are of the core. */
  learn(saying: Saying, places: Iterable<number>): boolean {
    if (saying.kind !== "vote") {
      if (!this.#isRank(saying.rank)) return false;
      if (saying.kind === "promise" && !this.#mayHaveVoted(saying)) return false;
      if (this.#isOld(saying.rank)) return true;
    }
    const core = [...places];
    const voters = core.filter((place) => this.#quorums.voters.has(place));
    const isWhole = voters.length === core.length;
    if (voters.length === 0) return isWhole;
    const spoken = this.#spokenIn(saying);
    const news = voters.filter((place) => spoken.add(place));
    if (news.length === 0) return isWhole;
    const tally = this.#tally(saying);
    for (const place of news) tally.from.add(place);
    this.#listener.tallied(tally, news);
    this.#work();
    return isWhole;
  }

  /** Somebody who has seen the decision says what it is. */
  learnDecision(value: bigint): void {
    this.#decided ??= value;
  }

  /** What was decided, and what the cut is may not be known yet. */
  get decided(): bigint | undefined {
    return this.#decided;
  }

  get quorums(): Quorums {
    return this.#quorums;
  }

  /** Everything that is known, for somebody who knows nothing yet. */
  tell(listener: ConsensusListener): void {
    for (const [value, cut] of this.#cuts) listener.noted({ kind: "cut", value, cut });
    if (this.#prepared !== noRank) listener.noted({ kind: "prepare", rank: this.#prepared });
    for (const [rank, value] of this.#asked) listener.noted({ kind: "accept", rank, value });
    for (const tally of this.#tallies.values()) {
      if (tally.from.size > 0) listener.tallied(tally, tally.from);
    }
  }

  /** Drops what concerns ranks that nobody waits for any more. */
  #forget(): void {
    for (const [key, tally] of this.#tallies) {
      const { saying } = tally;
      if (saying.kind !== "vote" && this.#isOld(saying.rank)) this.#tallies.delete(key);
    }
    for (const rank of this.#asked.keys()) if (this.#isOld(rank)) this.#asked.delete(rank);
    for (const key of this.#spoken.keys()) {
      const rank = Number(key.slice(1));
      if (rank !== fastRank && this.#isOld(rank)) this.#spoken.delete(key);
    }
  }

  /** Whether somebody can coordinate a round of this rank. */
  #isRank(rank: Rank): boolean {
    const round = roundOf(rank);
    return Number.isSafeInteger(rank) && round > 1 && round < roundsMost &&
      this.#quorums.voters.has(placeOf(rank));
  }

  #mayHaveVoted({ rank, voted }: Extract<Saying, { kind: "promise" }>): boolean {
    return voted === noRank || voted === fastRank || (voted < rank && this.#isRank(voted));
  }

  #isOld(rank: Rank): boolean {
    return roundOf(rank) + ranksKept < roundOf(this.#prepared);
  }

  #promise(rank: Rank): void {
    const { voted, value, cut } = this.#acceptor;
    this.#change({ promised: rank, voted, value, cut }, { kind: "promise", rank, voted, value });
  }

  #change(acceptor: Acceptor, saying: Saying): void {
    this.#acceptor = acceptor;
    this.#sayings.push({ after: ++this.#changes, saying });
  }

  /** What the disk says was said already may be said again. */
  #repeat(self: number, { voted, value, cut }: Acceptor): void {
    assert(cut !== undefined, "the cut that was voted for is on the disk with the vote");
    this.learnCut(value, cut);
    const saying: Saying = voted === fastRank
      ? { kind: "vote", value }
      : { kind: "accepted", rank: voted, value };
    this.#spokenIn(saying).add(self);
    this.#tally(saying).from.add(self);
  }

  #tally(saying: Saying): Tally {
    const key = keyOf(saying);
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { saying, from: new Bitmap(this.#configuration.size) };
      this.#tallies.set(key, tally);
    }
    return tally;
  }

  #spokenIn(saying: Saying): Bitmap {
    const key = saying.kind === "vote" ? `v${fastRank}` : `${saying.kind[0]}${saying.rank}`;
    let spoken = this.#spoken.get(key);
    if (spoken === undefined) {
      spoken = new Bitmap(this.#configuration.size);
      this.#spoken.set(key, spoken);
    }
    return spoken;
  }

  /** Does what follows from the state. */
  #work(): void {
    this.#accept();
    this.#decide();
  }

  /** As an acceptor: the newest rank that a coordinator asks for, once the cut is known. */
  #accept(): void {
    if (this.#self === undefined) return;
    for (const [rank, value] of this.#asked) {
      const cut = this.#cuts.get(value);
      if (cut === undefined || rank < this.#acceptor.promised) continue;
      if (rank === this.#acceptor.voted) continue;
      const accepted: Saying = { kind: "accepted", rank, value };
      this.#change({ promised: rank, voted: rank, value, cut }, accepted);
    }
  }

  /**
   * As a coordinator: with promises of a quorum it asks for the one value that may be decided. Apart
   * from learning, since what follows here is news for whoever brought the promise, too.
   */
  coordinate(): void {
    const own = this.#coordinated;
    if (own === undefined || own.isAsked || own.rank < this.#prepared) return;
    const promised = this.#spoken.get(`p${own.rank}`);
    if (promised === undefined || !this.#quorums.isClassic(promised)) return;
    const value = this.#choose(own.rank, promised);
    if (value === undefined) return;
    own.isAsked = true;
    this.learnAccept(own.rank, value);
  }

  /** Undefined while there is nothing to choose from. */
  #choose(rank: Rank, promised: Bitmap): bigint | undefined {
    const promises: Promised[] = [];
    for (const { saying, from } of this.#tallies.values()) {
      if (saying.kind === "promise" && saying.rank === rank && from.size > 0) {
        promises.push({ voted: saying.voted, value: saying.value, from });
      }
    }
    const newest = promises.reduce((most, { voted }) => Math.max(most, voted), noRank);
    const voted = promises.filter((promise) => promise.voted === newest && newest !== noRank);
    if (newest > fastRank) return voted[0].value;
    // At most one value can have been decided in the fast round, or may still be.
    const decided = voted.find(({ from }) => this.#quorums.mayBeFast(from, promised));
    if (decided !== undefined) return decided.value;
    voted.sort((a, b) => b.from.size - a.from.size || (a.value < b.value ? -1 : 1));
    if (voted.length > 0) return voted[0].value;
    let lowest: bigint | undefined;
    for (const value of this.#cuts.keys()) {
      if (lowest === undefined || value < lowest) lowest = value;
    }
    return lowest;
  }

  #decide(): void {
    if (this.#decided !== undefined) return;
    for (const tally of this.#tallies.values()) {
      const { saying, from } = tally;
      const isDecided = saying.kind === "vote"
        ? this.#quorums.isFast(from)
        : saying.kind === "accepted" && this.#quorums.isClassic(from);
      if (isDecided) this.#decided = saying.value;
    }
  }
}
