/**
 * Agreement, under random schedules: what members say is delivered in any order, several times or not
 * at all, disks are late, members crash and come back with what was durable, anybody coordinates.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import {
  type Acceptor,
  Consensus,
  type ConsensusListener,
  fastRank,
  freshAcceptor,
  type Note,
  rankOf,
  type Saying,
} from "../../../src/membership/core/consensus.ts";
import { Bitmap } from "../../../src/membership/core/bitmap.ts";
import type { TwoMembers } from "../../../src/membership/core/quorums.ts";
import { configurationOf, without } from "../support/members.ts";

type Fact = { readonly saying: Saying; readonly place: number } | { readonly note: Note };

const silent: ConsensusListener = { tallied: () => {}, noted: () => {} };

class Schedule {
  readonly #prng: Prng;
  readonly #size: number;
  readonly #twoMembers: TwoMembers;
  readonly #configuration;
  /** All that was ever said, for anybody to hear at any time. */
  readonly #facts: Fact[] = [];
  readonly #members: Consensus[];
  readonly #disks: Acceptor[];
  readonly decided = new Set<bigint>();

  constructor(prng: Prng, size: number, twoMembers: TwoMembers) {
    this.#prng = prng;
    this.#size = size;
    this.#twoMembers = twoMembers;
    this.#configuration = configurationOf(size);
    this.#disks = Array.from({ length: size }, () => freshAcceptor);
    this.#members = this.#disks.map((_, place) => this.#start(place));
  }

  #start(place: number): Consensus {
    return new Consensus(this.#configuration, place, this.#disks[place], this.#twoMembers, {
      tallied: ({ saying }, places) => {
        for (const from of places) if (from === place) this.#facts.push({ saying, place });
      },
      noted: (note) => this.#facts.push({ note }),
    });
  }

  step(): void {
    const prng = this.#prng;
    const place = prng.below(this.#size);
    const member = this.#members[place];
    const chance = prng.fraction();
    if (chance < 0.1) {
      // Those who leave differ: a configuration of one has nobody to lose.
      if (this.#size > 1) member.propose(without(prng.below(this.#size)));
    } else if (chance < 0.15) member.begin(member.nextRound);
    else if (chance < 0.2) {
      // What was on its way to the disk may have arrived.
      if (prng.chance(0.5)) this.#disks[place] = member.acceptor;
      this.#members[place] = this.#start(place);
    } else if (chance < 0.45) {
      this.#disks[place] = member.acceptor;
      member.stored(member.changes);
    } else if (this.#facts.length > 0) {
      this.#hear(member, prng.pick(this.#facts));
    }
    this.#members[place].coordinate();
    this.#look();
  }

  #hear(member: Consensus, fact: Fact): void {
    if ("saying" in fact) member.learn(fact.saying, [fact.place]);
    else if (fact.note.kind === "cut") member.learnCut(fact.note.value, fact.note.cut);
    else if (fact.note.kind === "prepare") member.learnPrepare(fact.note.rank);
    else member.learnAccept(fact.note.rank, fact.note.value);
  }

  /** Everything reaches everybody, and one after the other coordinates. */
  end(): void {
    for (let round = 0; round < 3 * this.#size && this.decided.size === 0; round++) {
      if (this.#size > 1) this.#members[0].propose(without(1));
      const member = this.#members[round % this.#size];
      member.begin(member.nextRound);
      for (let pass = 0; pass < 4; pass++) {
        for (const [place, one] of this.#members.entries()) {
          for (const fact of [...this.#facts]) this.#hear(one, fact);
          this.#disks[place] = one.acceptor;
          one.stored(one.changes);
          one.coordinate();
        }
        this.#look();
      }
    }
  }

  #look(): void {
    for (const { decided } of this.#members) if (decided !== undefined) this.decided.add(decided);
  }
}

for (const size of [1, 2, 3, 4, 5, 6, 7]) {
  for (const twoMembers of size === 2 ? ["stall", "first"] as const : ["stall"] as const) {
    test(`sharp 9, 10: ${size} members (${twoMembers}) never decide twice, and decide in the end`, () => {
      const runs = 400;
      let decided = 0;
      for (let run = 0; run < runs; run++) {
        const schedule = new Schedule(new Prng(run * 8 + size), size, twoMembers);
        for (let step = 0; step < 40 * size; step++) schedule.step();
        assert.ok(schedule.decided.size <= 1, `run ${run} decided ${schedule.decided.size} times`);
        schedule.end();
        assert.ok(schedule.decided.size <= 1, `run ${run} decided ${schedule.decided.size} times`);
        decided += schedule.decided.size;
      }
      assert.equal(decided, size === 1 ? 0 : runs);
    });
  }
}

test("sharp 9: no vote of the fast round follows a promise", () => {
  const consensus = new Consensus(configurationOf(5), 0, freshAcceptor, "stall", silent);
  consensus.learnPrepare(rankOf(2, 3));
  consensus.propose(without(4));
  assert.equal(consensus.acceptor.voted, 0);
  assert.equal(consensus.acceptor.promised, rankOf(2, 3));
  assert.equal(consensus.cuts, 1, "what it would have voted for can be asked for");
});

test("sharp 9: a coordinator asks for what may have been decided, whatever it voted for", () => {
  const configuration = configurationOf(5);
  for (const [mine, theirs] of [[without(4), without(3)], [without(3), without(4)]]) {
    const consensus = new Consensus(configuration, 0, freshAcceptor, "stall", silent);
    const value = configuration.digestAfter(theirs);
    consensus.propose(mine);
    consensus.stored(consensus.changes);
    consensus.learnCut(value, theirs);
    consensus.begin(2);
    consensus.stored(consensus.changes);
    // Two of the three that promise voted for it, and the two that say nothing may have.
    const promise: Saying = { kind: "promise", rank: rankOf(2, 0), voted: fastRank, value };
    consensus.learn(promise, [1, 2]);
    consensus.coordinate();
    assert.deepEqual([consensus.acceptor.voted, consensus.acceptor.value], [rankOf(2, 0), value]);
  }
});

test("sharp 10: a promise that comes again counts once, and ranks go on rising", () => {
  const configuration = configurationOf(5);
  const consensus = new Consensus(configuration, 0, freshAcceptor, "stall", silent);
  consensus.propose(without(4));
  consensus.begin(consensus.nextRound);
  consensus.stored(consensus.changes);
  const rank = rankOf(2, 0);
  const promise: Saying = { kind: "promise", rank, voted: 0, value: 0n };
  for (let again = 0; again < 3; again++) consensus.learn(promise, [1]);
  consensus.coordinate();
  assert.ok(consensus.acceptor.voted < rank, "two of five have promised");
  consensus.learn(promise, [2]);
  consensus.coordinate();
  assert.equal(consensus.acceptor.voted, rank);
  assert.equal(consensus.nextRound, 3);
});

test("sharp 11: a vote that comes after the decision changes nothing", () => {
  const configuration = configurationOf(4);
  const consensus = new Consensus(configuration, 0, freshAcceptor, "stall", silent);
  const cuts = [without(3), without(2)];
  const values = cuts.map((cut) => configuration.digestAfter(cut));
  cuts.forEach((cut, at) => consensus.learnCut(values[at], cut));
  consensus.learn({ kind: "accepted", rank: rankOf(2, 1), value: values[0] }, [0, 1, 2]);
  assert.equal(consensus.decided, values[0]);
  consensus.learn({ kind: "vote", value: values[1] }, [0, 1, 2, 3]);
  assert.equal(consensus.decision, cuts[0]);
});

test("sharp 17: votes count before their cut is known, and without an own proposal", () => {
  const configuration = configurationOf(4);
  const consensus = new Consensus(configuration, 0, freshAcceptor, "stall", silent);
  const cut = without(3);
  const value = configuration.digestAfter(cut);
  consensus.learn({ kind: "vote", value }, [0, 1, 2, 3]);
  assert.equal(consensus.decided, value);
  assert.equal(consensus.decision, undefined);
  assert.equal(consensus.learnCut(value, cut), true);
  assert.equal(consensus.decision, cut);
});

test("a member alone decides again after a crash, by what it had voted", () => {
  const configuration = configurationOf(1);
  const joiner = configurationOf(2).members[1];
  const cut = { joined: [joiner], left: [] };
  const value = configuration.digestAfter(cut);
  const acceptor = { promised: fastRank, voted: fastRank, value, cut };
  const consensus = new Consensus(configuration, 0, acceptor, "stall", silent);
  assert.equal(consensus.decision, cut);
});

test("ranks, places and cuts that cannot be are told apart, and nothing is kept of them", () => {
  const configuration = configurationOf(3, 2);
  const consensus = new Consensus(configuration, 0, freshAcceptor, "stall", silent);
  for (const rank of [0, 1, fastRank, rankOf(2, 2), rankOf(2, 9), 2 ** 60, 2.5, NaN]) {
    assert.equal(consensus.learnPrepare(rank), false, `${rank}`);
    assert.equal(consensus.learnAccept(rank, 1n), false, `${rank}`);
    assert.equal(consensus.learn({ kind: "accepted", rank, value: 1n }, [0]), false, `${rank}`);
  }
  assert.equal(consensus.learn({ kind: "vote", value: 1n }, [2, 3, 2 ** 31]), false);
  assert.equal(consensus.learnCut(1n, without(2)), false, "the digest of something else");
  assert.equal(consensus.learnCut(1n, without(9)), false);
  assert.equal(consensus.tallies + consensus.cuts, 0);
  assert.equal(consensus.quorums.voters.common(new Bitmap(3)), 0);
});
