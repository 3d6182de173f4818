/** What alerts say together does not depend on the order in which they come, or how often. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import {
  AlertKind,
  Alerts,
  nextSequence,
  sequenceOf,
  type Subject,
} from "../../../src/membership/core/alerts.ts";
import type { Configuration } from "../../../src/membership/core/configuration.ts";
import { MemberRole } from "../../../src/membership/core/member.ts";
import { Quorums } from "../../../src/membership/core/quorums.ts";
import { configurationOf, memberOf } from "../support/members.ts";

const limits = { high: 9, low: 3, joinersMax: 100 };
const raised = sequenceOf(1, AlertKind.raised);

function quorumsOf({ core, size }: Configuration): Quorums {
  return new Quorums(core, size, "stall");
}

interface Said {
  readonly place: number;
  readonly ring: number;
  readonly sequence: number;
}

function draw(prng: Prng, size: number): Said[] {
  const failing = [prng.below(size), prng.below(size)];
  return Array.from({ length: prng.between(1, 40) }, () => ({
    place: prng.chance(0.8) ? prng.pick(failing) : prng.below(size),
    ring: prng.below(10),
    sequence: sequenceOf(prng.between(1, 3), prng.pick([0, 1, 1, 1, 2, 3] as const)),
  }));
}

function stateOf(configuration: Configuration, said: readonly Said[], stepwise: boolean): string {
  const alerts = new Alerts(configuration, limits);
  const quorums = quorumsOf(configuration);
  for (const { place, ring, sequence } of said) {
    alerts.merge(alerts.member(place), ring, sequence);
    if (stepwise) alerts.detect(0, quorums);
  }
  const cut = alerts.detect(0, quorums);
  const places = (subjects: ReadonlySet<Subject>): number[] =>
    [...subjects].map(({ place }) => place!).sort((a, b) => a - b);
  return JSON.stringify([places(alerts.unstable), places(alerts.stable), cut?.left]);
}

function shuffled<T>(items: readonly T[], prng: Prng): T[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = prng.below(at + 1);
    [order[at], order[other]] = [order[other], order[at]];
  }
  return order;
}

test("alerts commute, and may be merged again, whenever the cut is looked for", () => {
  const prng = new Prng(1);
  for (let run = 0; run < 600; run++) {
    const configuration = configurationOf(prng.pick([2, 3, 5, 9, 20]));
    const said = draw(prng, configuration.size);
    const other = shuffled([...said, ...said], prng);
    assert.equal(
      stateOf(configuration, said, false),
      stateOf(configuration, other, true),
      `run ${run}: ${JSON.stringify(said)}`,
    );
  }
});

function raise(alerts: Alerts, subject: Subject, rings: readonly number[]): void {
  for (const ring of rings) alerts.merge(subject, ring, raised);
}

const all = [...Array(10).keys()];

test("sharp 1: one observer on several rings counts for each of them, and is nobody's majority", () => {
  const configuration = configurationOf(2);
  const alerts = new Alerts(configuration, limits, 0);
  assert.deepEqual(new Set(configuration.observersOf(1)), new Set([0]));
  raise(alerts, alerts.member(1), all);
  const first = new Quorums(configuration.core, 2, "first");
  assert.deepEqual(alerts.detect(0, first)?.left, [1], "the only observer speaks for all rings");
  // Where there are others, one alone is noise, however many rings are its own.
  const three = configurationOf(3);
  const more = new Alerts(three, limits);
  const observers = three.observersOf(2);
  const own = all.filter((ring) => observers[ring] === observers[0]);
  raise(more, more.member(2), own);
  more.detect(0, quorumsOf(three));
  assert.equal(more.unstable.size + more.stable.size, 0);
  raise(more, more.member(2), all);
  assert.deepEqual(more.detect(0, quorumsOf(three))?.left, [2]);
});

test("L and H are inclusive", () => {
  const configuration = configurationOf(50);
  for (const [count, unstable, stable] of [[2, 0, 0], [3, 1, 0], [8, 1, 0], [9, 0, 1]] as const) {
    const alerts = new Alerts(configuration, limits);
    raise(alerts, alerts.member(7), all.slice(0, count));
    alerts.detect(0, quorumsOf(configuration));
    assert.deepEqual([alerts.unstable.size, alerts.stable.size], [unstable, stable], `${count}`);
  }
});

test("sharp 13: observers that fail together are not waited for, also with a tally of exactly L", () => {
  const configuration = configurationOf(50);
  const place = 7;
  const observers = configuration.observersOf(place);
  const alerts = new Alerts(configuration, limits);
  raise(alerts, alerts.member(place), all.slice(0, 3));
  for (const observer of observers.slice(3)) raise(alerts, alerts.member(observer), all);
  const cut = alerts.detect(0, quorumsOf(configuration));
  assert.deepEqual(cut?.left, [...new Set([place, ...observers.slice(3)])].sort((a, b) => a - b));
});

test("one that is there and says nothing is waited for", () => {
  const configuration = configurationOf(50);
  const observers = configuration.observersOf(7);
  const alerts = new Alerts(configuration, limits);
  raise(alerts, alerts.member(7), all.slice(0, 6));
  for (const observer of observers.slice(6, 9)) raise(alerts, alerts.member(observer), all);
  assert.equal(alerts.detect(0, quorumsOf(configuration)), undefined);
  assert.equal(alerts.unstable.size, 1);
});

test("who is said to be gone is not believed", () => {
  const configuration = configurationOf(50);
  const alerts = new Alerts(configuration, limits);
  raise(alerts, alerts.member(3), all);
  for (const place of configuration.subjectsOf(3)) {
    const own = all.filter((ring) => configuration.observersOf(place)[ring] === 3);
    raise(alerts, alerts.member(place), own);
  }
  assert.deepEqual(alerts.detect(0, quorumsOf(configuration))?.left, [3]);
});

test("a minority detects nothing: those who stay have to be a quorum", () => {
  const configuration = configurationOf(5);
  const alerts = new Alerts(configuration, limits);
  for (const place of [2, 3, 4]) raise(alerts, alerts.member(place), all);
  assert.equal(alerts.detect(0, quorumsOf(configuration)), undefined);
  // Those who leave by themselves are there to decide.
  const leaving = new Alerts(configuration, limits);
  for (const place of [2, 3, 4]) {
    for (const ring of all) {
      leaving.merge(leaving.member(place), ring, sequenceOf(1, AlertKind.leaving));
    }
  }
  assert.deepEqual(leaving.detect(0, quorumsOf(configuration))?.left, [2, 3, 4]);
});

test("when all who decide want to leave at once the others go first", () => {
  const configuration = configurationOf(4, 2);
  const alerts = new Alerts(configuration, limits);
  for (const place of [0, 1, 2]) {
    for (const ring of all) {
      alerts.merge(alerts.member(place), ring, sequenceOf(1, AlertKind.leaving));
    }
  }
  assert.deepEqual(alerts.detect(0, quorumsOf(configuration))?.left, [2]);
});

test("a member does not count itself as gone", () => {
  const configuration = configurationOf(2);
  const alerts = new Alerts(configuration, limits, 0);
  for (const place of [0, 1]) raise(alerts, alerts.member(place), all);
  assert.deepEqual(alerts.detect(0, new Quorums([0, 1], 2, "first"))?.left, [1]);
});

test("sharp 12: joiners with one name or address are chosen by everybody alike", () => {
  const configuration = configurationOf(5);
  const joiners = [
    memberOf("new", { incarnation: 9n }),
    memberOf("new", { incarnation: 4n }),
    memberOf("other", { incarnation: 5n, nodeId: "new".padStart(32, "0") }),
    memberOf("aa", { incarnation: 6n, address: "tcp://zz:1", nodeId: "f".repeat(32) }),
  ];
  const digests = new Set<bigint>();
  for (const order of [joiners, [...joiners].reverse()]) {
    const alerts = new Alerts(configuration, limits);
    for (const joiner of order) raise(alerts, alerts.joiner(joiner)!, all);
    const cut = alerts.detect(0, quorumsOf(configuration))!;
    assert.deepEqual(cut.joined.map(({ incarnation }) => incarnation), [4n]);
    digests.add(configuration.digestAfter(cut));
  }
  assert.equal(digests.size, 1);
});

test("strangers fill no table: who has given up makes room, and nobody else is remembered", () => {
  const configuration = configurationOf(5);
  const alerts = new Alerts(configuration, { ...limits, joinersMax: 3 });
  const joinerAt = (at: number) =>
    alerts.joiner(memberOf(`j${at}`, { incarnation: BigInt(at), role: MemberRole.leaf }));
  for (let at = 1; at <= 3; at++) raise(alerts, joinerAt(at)!, [0]);
  assert.equal(joinerAt(4), undefined);
  const gone = alerts.joinerOf(2n)!;
  alerts.merge(gone, 0, nextSequence(gone.sequences[0], AlertKind.withdrawn));
  assert.ok(joinerAt(4) !== undefined);
  assert.equal(alerts.joiners, 3);
  assert.equal(alerts.joinerOf(2n), undefined);
});

test("what no alert can be is told apart", () => {
  const alerts = new Alerts(configurationOf(5), limits);
  const subject = alerts.member(2);
  assert.equal(alerts.fits(subject, 9, raised), true);
  for (const [ring, sequence] of [[10, 5], [-1, 5], [0.5, 5], [0, 0], [0, 2 ** 33], [0, NaN]]) {
    assert.equal(alerts.fits(subject, ring, sequence), false, `${ring} ${sequence}`);
  }
});
