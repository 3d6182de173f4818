/** The sharp cases of the protocol, one test each; those of a single part are beside its other tests. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Configuration } from "../../../src/membership/core/configuration.ts";
import { type Acceptor, freshAcceptor } from "../../../src/membership/core/consensus.ts";
import { idOf } from "../../../src/membership/core/history.ts";
import { type Member, MemberRole } from "../../../src/membership/core/member.ts";
import { Membership } from "../../../src/membership/core/membership.ts";
import type { Message } from "../../../src/membership/core/message.ts";
import { lanOptions } from "../../../src/membership/core/options.ts";
import { clear, CoreLab, type CoreNode, type Path } from "../support/core_lab.ts";
import { configurationOf, memberOf, nameAt, without } from "../support/members.ts";

const cut: Path = { isCut: true, loss: 0 };

function names(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `n${at}`);
}

function agreed(nodes: readonly CoreNode[], size: number): boolean {
  const digest = nodes[0].view?.digest;
  return nodes.every(({ view }) => view?.size === size && view.digest === digest);
}

function calmLab(count: number, seed = 1): { lab: CoreLab; nodes: CoreNode[] } {
  const lab = new CoreLab({ seed });
  const nodes = lab.found(names(count));
  lab.run(3_000);
  return { lab, nodes };
}

/** A machine, with what it wants done taken away. */
class Alone {
  readonly machine: Membership;
  readonly sent: { readonly to: string; readonly message: Message }[] = [];
  nowMs = 0;

  constructor(self: Member, configuration: Configuration, acceptor: Acceptor = freshAcceptor) {
    this.machine = new Membership(self, { configuration, acceptor }, lanOptions, 0);
    for (const { address } of configuration.members) this.machine.linked(address);
    this.pass(0);
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.machine.tick(this.nowMs);
    const { durable, messages } = this.machine.take();
    this.sent.push(...messages);
    if (durable !== undefined) this.machine.stored(durable.number);
  }

  kinds(): string[] {
    return this.sent.splice(0).map(({ message }) => message.kind);
  }
}

test("sharp 3: three members lose one within the detector's time and a moment", () => {
  const { lab, nodes } = calmLab(3);
  nodes[2].crash();
  const rest = nodes.slice(0, 2);
  assert.ok(lab.run(6_500, () => agreed(rest, 2)), "there is no fast round to wait for");
});

test("sharp 4: who still fails is reported anew in the next configuration, without new probes", () => {
  const configuration = configurationOf(6);
  const self = configuration.members[0];
  const alone = new Alone(self, configuration);
  const [failing] = alone.machine.subjects;
  alone.machine.verdict(failing, false);
  alone.pass(200);
  const other = [1, 2, 3, 4, 5].find((place) => configuration.members[place] !== failing)!;
  const next = configuration.after(without(other));
  alone.machine.receive(configuration.members[1].address, {
    kind: "cuts",
    from: idOf(configuration),
    cuts: [without(other)],
    to: idOf(next),
  });
  assert.equal(alone.machine.configuration.epoch, 2);
  alone.pass(0);
  alone.sent.splice(0);
  alone.pass(lanOptions.batchMs);
  alone.pass(lanOptions.flushMs);
  const place = next.placeOf(failing.address)!;
  const isObserver = next.observersOf(place).includes(next.placeOf(self.address)!);
  const told = alone.sent.some(({ message }) =>
    message.kind === "gossip" && message.alerts.some((alert) => alert.place === place)
  );
  assert.equal(told, isObserver);
  assert.ok(isObserver, "the example is one");
});

test("sharp 5: what comes from a later configuration makes a member ask, and follow", () => {
  const configuration = configurationOf(4);
  const next = configuration.after(without(3));
  const alone = new Alone(configuration.members[0], configuration);
  const from = configuration.members[1].address;
  const gossip: Message = {
    kind: "gossip",
    configuration: idOf(next),
    joiners: [],
    alerts: [],
    notes: [],
    tallies: [],
  };
  alone.machine.receive(from, gossip);
  alone.pass(0);
  assert.deepEqual(alone.kinds().filter((kind) => kind !== "gossip"), ["pull"]);
  const later: Message = {
    kind: "cuts",
    from: idOf(configuration),
    cuts: [without(3)],
    to: idOf(next),
  };
  // Cuts that lead elsewhere than they say are not followed.
  alone.machine.receive(from, { ...later, to: { epoch: 2, digest: 5n } });
  assert.equal(alone.machine.configuration.epoch, 1);
  assert.equal(alone.machine.dropped.invalid, 1);
  alone.machine.receive(from, later);
  assert.equal(alone.machine.configuration.digest, next.digest);
});

test("sharp 6: a leave and a verdict are about one stay, and hit no newcomer at its address", () => {
  const configuration = configurationOf(4);
  const before = configuration.members[3];
  const again = memberOf(before.name, { incarnation: 77n, nodeId: "e".repeat(32) });
  const next = configuration.after({ joined: [again], left: [3] });
  const alone = new Alone(configuration.members[0], next);
  alone.machine.receive(next.members[1].address, {
    kind: "leave",
    configuration: idOf(configuration),
    place: 3,
  });
  alone.machine.verdict(before, false);
  alone.pass(500);
  const alerts = alone.sent.flatMap(({ message }) =>
    message.kind === "gossip" ? message.alerts : []
  );
  assert.deepEqual(alerts, []);
});

test("sharp 7: a node that lost its disk replaces its former self at the same address", () => {
  const { lab, nodes } = calmLab(5);
  const [gone] = nodes.splice(4);
  const former = gone.member;
  gone.crash();
  gone.member = { ...former, nodeId: "d".repeat(32), incarnation: former.incarnation + 1n };
  gone.isRunning = true;
  gone.join(nodes.map(({ address }) => address));
  assert.ok(lab.run(30_000, () => agreed([...nodes, gone], 5)));
  assert.equal(nodes[0].view!.memberAt(gone.address)!.nodeId, "d".repeat(32));
  assert.equal(nodes[0].view!.holds(former), false);
});

test("sharp 8: a cut that was decided brings the records of joiners that were never heard of", () => {
  const configuration = configurationOf(4);
  const joiner = memberOf("new", { incarnation: 9n });
  const joined = { joined: [joiner], left: [] };
  const value = configuration.digestAfter(joined);
  const alone = new Alone(configuration.members[0], configuration);
  alone.machine.receive(configuration.members[1].address, {
    kind: "gossip",
    configuration: idOf(configuration),
    joiners: [],
    alerts: [],
    notes: [{ kind: "cut", value, cut: joined }],
    tallies: [{ saying: { kind: "vote", value }, places: [0, 1, 2, 3] }],
  });
  assert.equal(alone.machine.configuration.digest, value);
  assert.equal(alone.machine.configuration.holds(joiner), true);
});

test("sharp 8: of a decision whose cut is not known the cut is asked for", () => {
  const configuration = configurationOf(4);
  const alone = new Alone(configuration.members[0], configuration);
  const from = configuration.members[1].address;
  const value = configuration.digestAfter(without(3));
  alone.machine.receive(from, { kind: "decided", configuration: idOf(configuration), value });
  alone.pass(0);
  assert.ok(alone.sent.some(({ to, message }) => to === from && message.kind === "pull"));
});

test("sharp 14: a member that only some can reach is not held on to for ever", () => {
  const { lab, nodes } = calmLab(10);
  const victim = nodes[9];
  const configuration = nodes[0].view!;
  const observers = new Set(configuration.observersOf(configuration.placeOf(victim.address)!));
  // Between L and H of its observers cannot reach it.
  const cutOff = new Set<string>();
  let rings = 0;
  for (const place of observers) {
    const own = configuration.observersOf(configuration.placeOf(victim.address)!)
      .filter((one) => one === place).length;
    if (rings + own > 7) continue;
    rings += own;
    cutOff.add(configuration.members[place].address);
  }
  assert.ok(rings >= 4 && cutOff.size >= 2);
  lab.path = (from, to) =>
    (from === victim.address && cutOff.has(to)) || (to === victim.address && cutOff.has(from))
      ? cut
      : clear;
  const rest = nodes.filter((node) => node !== victim);
  assert.ok(lab.run(60_000, () => rest.every(({ view }) => view?.holds(victim.member) === false)));
});

test("sharp 15: an alert is withdrawn once its subject has answered for long", () => {
  const configuration = configurationOf(12);
  const alone = new Alone(configuration.members[0], configuration);
  const [subject] = alone.machine.subjects;
  alone.machine.verdict(subject, false);
  alone.pass(200);
  alone.machine.verdict(subject, true);
  alone.pass(lanOptions.ageMs - 1);
  alone.sent.splice(0);
  alone.pass(1);
  alone.pass(lanOptions.batchMs);
  alone.pass(lanOptions.flushMs);
  const numbers = alone.sent.flatMap(({ message }) =>
    message.kind === "gossip" ? message.alerts.flatMap(({ rings }) => rings) : []
  ).filter((_, at) => at % 2 === 1);
  assert.ok(numbers.length > 0);
  assert.deepEqual(numbers.filter((sequence) => (sequence & 1) !== 0), [], "none is raised");
});

test("sharp 16: steady joins do not keep those that came first waiting", () => {
  const { lab } = calmLab(3);
  const joiners: CoreNode[] = [];
  for (let at = 0; at < 40; at++) {
    lab.at(at * 80, () => joiners.push(lab.join(`j${at}`, ["tcp://n0:7946"])));
  }
  lab.run(1_500);
  assert.ok(joiners[0].view !== undefined, "it is in before the last one comes");
  assert.ok(lab.run(20_000, () => joiners.length === 40 && agreed(joiners, 43)));
});

test("sharp 18: observers follow the rings, also around their ends", () => {
  let configuration = configurationOf(9);
  for (let round = 0; round < 30; round++) {
    const joined = [memberOf(`x${round}`, { incarnation: BigInt(round + 10) })];
    configuration = configuration.after({ joined, left: [round % configuration.size] });
    const fresh = Configuration.restored(configuration, configuration.members, 10);
    for (let place = 0; place < configuration.size; place++) {
      assert.deepEqual(configuration.observersOf(place), fresh.observersOf(place));
      for (const [ring, observer] of configuration.observersOf(place).entries()) {
        assert.equal(configuration.rings.subjectOf(observer, ring), place);
      }
      // A joiner's gatekeepers are those who will observe it.
      const { address } = configuration.members[place];
      assert.deepEqual(configuration.gatekeepersOf(address), configuration.observersOf(place));
    }
  }
});

test("sharp 19: joiners that a view change leaves out are told at once where to ask again", () => {
  const configuration = configurationOf(4);
  const alone = new Alone(configuration.members[0], configuration);
  const [first, second] = ["one", "two"].map((name, at) =>
    memberOf(name, { incarnation: BigInt(at + 5) })
  );
  const request = (id: number, joiner: Member) =>
    alone.machine.join({ id, joiner, configuration: idOf(configuration) });
  const asked = configuration.gatekeepersOf(second.address).includes(0);
  request(1, first);
  request(2, second);
  const next = configuration.after({ joined: [first], left: [] });
  alone.machine.receive(configuration.members[1].address, {
    kind: "cuts",
    from: idOf(configuration),
    cuts: [{ joined: [first], left: [] }],
    to: idOf(next),
  });
  const answers = new Map(alone.machine.take().answers.map(({ id, answer }) => [id, answer.kind]));
  assert.equal(answers.get(1), "joined");
  assert.equal(answers.get(2), asked ? "moved" : "refused");
});

test("sharp 19: who comes from a later configuration waits for the gatekeeper to get there", () => {
  const configuration = configurationOf(4);
  const alone = new Alone(configuration.members[0], configuration);
  const next = configuration.after(without(3));
  const joiner = memberOf("new", { incarnation: 5n });
  alone.machine.join({ id: 1, joiner, configuration: idOf(next) });
  assert.deepEqual(alone.machine.take().answers, []);
  assert.equal(alone.machine.kept.joiners, 0);
  alone.machine.receive(configuration.members[1].address, {
    kind: "cuts",
    from: idOf(configuration),
    cuts: [without(3)],
    to: idOf(next),
  });
  assert.equal(alone.machine.kept.joiners, 1);
  assert.equal(alone.machine.kept.waiting, 1);
});

test("sharp 20: whoever missed its eviction is told, and is no member any more", () => {
  const configuration = configurationOf(4);
  const next = configuration.after(without(3));
  const knowing = new Alone(configuration.members[0], configuration);
  knowing.machine.receive(configuration.members[1].address, {
    kind: "cuts",
    from: idOf(configuration),
    cuts: [without(3)],
    to: idOf(next),
  });
  knowing.pass(0);
  knowing.sent.splice(0);
  const zombie = new Alone(configuration.members[3], configuration);
  knowing.machine.seen(configuration.members[3].address, idOf(configuration));
  knowing.pass(0);
  for (const { to, message } of knowing.sent) {
    if (to === configuration.members[3].address) {
      zombie.machine.receive(configuration.members[0].address, message);
    }
  }
  assert.equal(zombie.machine.isEvicted, true);
  assert.equal(zombie.machine.dueMs, Infinity);
});

test("sharp 20: a member that comes back from its disk does not vote for anything else", () => {
  const configuration = configurationOf(4);
  const voted = without(3);
  const value = configuration.digestAfter(voted);
  const acceptor = { promised: 65_536, voted: 65_536, value, cut: voted };
  const alone = new Alone(configuration.members[0], configuration, acceptor);
  const other = without(2);
  alone.machine.receive(configuration.members[1].address, {
    kind: "gossip",
    configuration: idOf(configuration),
    joiners: [],
    alerts: [],
    notes: [{ kind: "cut", value: configuration.digestAfter(other), cut: other }],
    tallies: [],
  });
  for (const { address, incarnation } of configuration.members.slice(1)) {
    alone.machine.verdict(memberOf(address, { incarnation }), false);
  }
  alone.pass(5_000);
  const votes = alone.sent.flatMap(({ message }) =>
    message.kind === "gossip" ? message.tallies : []
  ).filter(({ saying, places }) => saying.kind === "vote" && places.includes(0));
  assert.ok(votes.length > 0);
  assert.ok(votes.every(({ saying }) => saying.kind === "vote" && saying.value === value));
});

test("two become one when one leaves, and all but one may leave at once", () => {
  for (const size of [2, 3, 6]) {
    const { lab, nodes } = calmLab(size);
    const leavers = nodes.slice(1);
    for (const leaver of leavers) {
      for (const observer of leaver.membership!.observersOf(leaver.address)) {
        lab.nodes.get(observer)!.membership!.leaving(leaver.address);
        lab.nodes.get(observer)!.settle();
      }
    }
    assert.ok(lab.run(10_000, () => nodes[0].view?.size === 1), `${size}`);
  }
});

test("a group that fails at once leaves in one cut, in nearly all cases", () => {
  let several = 0;
  const runs = 30;
  for (let seed = 1; seed <= runs; seed++) {
    const { lab, nodes } = calmLab(30, seed);
    const group = nodes.filter((_, at) => at % 10 === 3);
    for (const node of group) node.crash();
    const rest = nodes.filter((node) => !group.includes(node));
    assert.ok(lab.run(15_000, () => agreed(rest, 27)), `seed ${seed}`);
    if (rest[0].views.length > 2) several++;
  }
  assert.ok(several <= 2, `${several} of ${runs}`);
});

test("who hears nobody accuses nobody", () => {
  const { lab, nodes } = calmLab(8);
  const deaf = nodes[3];
  lab.path = (_from, to) => to === deaf.address ? cut : clear;
  const rest = nodes.filter((node) => node !== deaf);
  assert.ok(lab.run(30_000, () => agreed(rest, 7)));
  assert.equal(rest[0].views.length, 2, "nobody else has left");
});

test("the members of a test are ordered as their names are", () => {
  const { members } = configurationOf(30, 20);
  assert.deepEqual(members.map(({ name }) => name), members.map((_, at) => nameAt(at)));
  assert.equal(members.filter(({ role }) => role === MemberRole.leaf).length, 10);
});
