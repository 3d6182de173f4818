/** The configuration that follows from another one is the one that would be made from its members. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import { Configuration } from "../../../src/membership/core/configuration.ts";
import { type Member, MemberRole } from "../../../src/membership/core/member.ts";

const rings = 10;

class Records {
  readonly #prng = new Prng(7);
  #made = 0n;

  get prng(): Prng {
    return this.#prng;
  }

  of(name: string, role: MemberRole = MemberRole.core): Member {
    return {
      address: `tcp://${name}:7946`,
      nodeId: name.padStart(32, "0"),
      incarnation: ++this.#made,
      name,
      role,
      metadata: new Map(),
    };
  }
}

test("configuration: rings that are derived are those that are sorted anew", () => {
  const records = new Records();
  const { prng } = records;
  const founders = ["a", "b", "c", "d"].map((name) => records.of(name));
  let present = Configuration.first(1n, founders, rings);
  let largest = 0;
  for (let step = 0; step < 300; step++) {
    const left = [...present.members.keys()].filter(() => prng.chance(0.2));
    const joined = left.filter(() => prng.chance(0.3)).map((place) => {
      const { name, role } = present.members[place];
      return records.of(name, role);
    });
    for (let count = prng.below(8); count > 0; count--) {
      joined.push(records.of(`x${step}-${count}`, prng.chance(0.3) ? MemberRole.leaf : undefined));
    }
    joined.sort((a, b) => a.address < b.address ? -1 : 1);
    const cut = { joined, left };
    if (present.problemOf(cut) !== undefined) continue;
    const next = present.after(cut);
    const anew = Configuration.restored(next, next.members, rings);
    assert.deepEqual(next.core, anew.core);
    for (let place = 0; place < next.size; place++) {
      assert.equal(next.placeOf(next.members[place].address), place);
      assert.deepEqual(next.observersOf(place), anew.observersOf(place));
      assert.deepEqual(next.subjectsOf(place), anew.subjectsOf(place));
      assert.deepEqual(next.neighboursOf(place), anew.neighboursOf(place));
    }
    for (const address of ["tcp://a:1", `tcp://x${step}-9:7946`]) {
      assert.deepEqual(next.gatekeepersOf(address), anew.gatekeepersOf(address));
    }
    largest = Math.max(largest, next.size);
    present = next;
  }
  assert.ok(largest > 15 && present.epoch > 200, `${largest} members, epoch ${present.epoch}`);
});

test("configuration: what is no cut is said so, whatever else changes with it", () => {
  const records = new Records();
  const names = ["a", "b", "c"];
  const present = Configuration.first(1n, names.map((name) => records.of(name)), rings);
  const other = records.of("d");
  const problem = (joined: readonly Member[], left: readonly number[] = []): string | undefined =>
    present.problemOf({ joined, left });
  assert.equal(problem([other]), undefined);
  assert.match(problem([])!, /changes nothing/);
  assert.match(problem([], [3])!, /no place 3/);
  assert.match(problem([], [1, 1])!, /not in order/);
  assert.match(problem([], [0, 1, 2])!, /nobody/);
  assert.match(problem([records.of("a")])!, /a:7946 is a member/);
  assert.match(problem([{ ...other, name: "b" }])!, /name b is taken/);
  assert.match(problem([{ ...other, nodeId: present.members[2].nodeId }])!, /is a member/);
  assert.match(problem([other, records.of("c2"), records.of("c1")])!, /not in order/);
  assert.match(problem([other, { ...records.of("e"), name: "d" }])!, /name d is taken/);
  // Whoever leaves with the same cut makes room.
  assert.equal(problem([records.of("a")], [0]), undefined);
  assert.match(problem([records.of("a")], [1])!, /is a member/);
  assert.match(problem([{ ...other, role: MemberRole.leaf }], [0, 1, 2])!, /nobody/);
});

test("configuration: the digest is of all that a cut holds and of what was before it", () => {
  const records = new Records();
  const founders = ["a", "b", "c"].map((name) => records.of(name));
  const present = Configuration.first(1n, founders, rings);
  const joiner = records.of("d");
  const cuts = [
    { joined: [joiner], left: [] },
    { joined: [{ ...joiner, incarnation: joiner.incarnation + 1n }], left: [] },
    { joined: [{ ...joiner, metadata: new Map([["zone", new Uint8Array([1])]]) }], left: [] },
    { joined: [joiner], left: [0] },
    { joined: [], left: [0] },
    { joined: [], left: [1] },
  ];
  const digests = [
    ...cuts.map((cut) => present.digestAfter(cut)),
    ...cuts.map((cut) => Configuration.first(2n, founders, rings).digestAfter(cut)),
  ];
  assert.equal(new Set(digests).size, digests.length);
  assert.equal(present.digestAfter({ joined: [{ ...joiner }], left: [] }), digests[0]);
  assert.equal(present.after(cuts[3]).digest, digests[3]);
});
