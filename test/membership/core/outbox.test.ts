/** What a neighbour is told, and what it is not told twice. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AlertKind,
  Alerts,
  sequenceOf,
  type Subject,
} from "../../../src/membership/core/alerts.ts";
import { Configuration } from "../../../src/membership/core/configuration.ts";
import { type Member, MemberRole } from "../../../src/membership/core/member.ts";
import { lanOptions } from "../../../src/membership/core/options.ts";
import { Outbox } from "../../../src/membership/core/outbox.ts";

function record(at: number): Member {
  return {
    address: `tcp://n${String(at).padStart(4, "0")}:7946`,
    nodeId: String(at).padStart(32, "0"),
    incarnation: BigInt(at + 1),
    name: `n${at}`,
    role: MemberRole.core,
    metadata: new Map(),
  };
}

const configuration = Configuration.first(
  1n,
  Array.from({ length: 12 }, (_, at) => record(at)),
  lanOptions.rings,
);
const raised = sequenceOf(1, AlertKind.raised);

function setUp(joiners: number): { alerts: Alerts; outbox: Outbox; subjects: Subject[] } {
  const alerts = new Alerts(configuration, lanOptions);
  const subjects = Array.from({ length: joiners }, (_, at) => alerts.joiner(record(100 + at))!);
  return { alerts, outbox: new Outbox(configuration, configuration.size, alerts), subjects };
}

test("outbox: rings of a subject go together, each once", () => {
  const { alerts, outbox } = setUp(0);
  const subject = alerts.member(3);
  for (const ring of [0, 4]) {
    alerts.merge(subject, ring, raised);
    outbox.alerted(subject, 1 << ring);
  }
  assert.deepEqual(outbox.take()?.alerts, [
    { place: 3, joiner: undefined, rings: [0, raised, 4, raised] },
  ]);
  assert.equal(outbox.isEmpty, true);
  assert.equal(outbox.take(), undefined);
  alerts.merge(subject, 9, raised);
  outbox.alerted(subject, 1 << 9);
  assert.deepEqual(outbox.take()?.alerts[0].rings, [9, raised]);
});

test("outbox: the record of a joiner goes once, unless the neighbour sent it", () => {
  const { alerts, outbox, subjects } = setUp(40);
  for (const subject of subjects) {
    alerts.merge(subject, 0, raised);
    outbox.alerted(subject, 1);
  }
  const known = subjects[39];
  outbox.knows(known);
  const first = outbox.take()!;
  assert.deepEqual(
    first.joiners.map(({ incarnation }) => incarnation),
    subjects.slice(0, 39).map(({ joiner }) => joiner!.incarnation),
  );
  assert.equal(first.alerts.length, 40);
  for (const subject of subjects) outbox.alerted(subject, 1);
  assert.deepEqual(outbox.take()!.joiners, []);
});

test("outbox: a cut brings the records that it needs, also of joiners without an alert", () => {
  const { outbox, subjects } = setUp(2);
  const stranger = record(500);
  outbox.knows(subjects[0]);
  const cut = { joined: [...subjects.map(({ joiner }) => joiner!), stranger], left: [] };
  outbox.noted({ kind: "cut", value: 7n, cut });
  const message = outbox.take()!;
  assert.deepEqual(message.joiners, [subjects[1].joiner, stranger]);
  assert.equal(message.notes.length, 1);
});

test("outbox: a large state goes in several messages, votes behind all alerts", () => {
  const { alerts, outbox, subjects } = setUp(500);
  const rings = (1 << lanOptions.rings) - 1;
  for (const subject of subjects) {
    for (let ring = 0; ring < lanOptions.rings; ring++) alerts.merge(subject, ring, raised);
    outbox.alerted(subject, rings);
  }
  outbox.noted({ kind: "prepare", rank: 1 << 17 });
  const messages = [];
  for (let message = outbox.take(); message !== undefined; message = outbox.take()) {
    messages.push(message);
  }
  assert.ok(messages.length > 1);
  assert.deepEqual(messages.map(({ notes }) => notes.length).slice(0, -1).filter(Boolean), []);
  assert.equal(messages[messages.length - 1].notes.length, 1);
  assert.equal(messages.reduce((sum, { alerts }) => sum + alerts.length, 0), subjects.length);
  assert.equal(messages.reduce((sum, { joiners }) => sum + joiners.length, 0), subjects.length);
});
