/** What is answered to which question: the zone of one small view, name by name. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../../src/base/prng.ts";
import type { DnsView } from "../../../src/dns/core/directory.ts";
import { Responder } from "../../../src/dns/core/responder.ts";
import {
  type Answer,
  type Ask,
  decode,
  member,
  question,
  smallView,
  type types,
} from "../support.ts";

const options = { domain: "covey", ttlSeconds: 5, udpMembersMax: 16, tcpMembersMax: 256 };

function responderOf(view: DnsView | undefined, more: Partial<typeof options> = {}): Responder {
  const responder = new Responder({ ...options, ...more }, new Prng(1));
  responder.update(view);
  return responder;
}

function ask(
  name: string,
  type: keyof typeof types | number,
  more: Ask & { responder?: Responder } = {},
): Answer {
  const { responder = responderOf(smallView), ...rest } = more;
  const { bytes } = responder.respond(question(name, type, rest), "udp");
  assert.ok(bytes !== undefined);
  return decode(bytes);
}

const soa = "covey 5 SOA gw1.node.covey hostmaster.covey 7 5";

/** Name, type, and the records that come in any order. */
const positive: readonly [string, keyof typeof types, readonly string[]][] = [
  ["gw1.node.covey", "A", ["gw1.node.covey 5 A 10.0.0.1"]],
  ["gw2.node.covey", "A", ["gw2.node.covey 5 A 10.0.0.2"]],
  ["gw3.node.covey", "AAAA", ["gw3.node.covey 5 AAAA 2001:db8:0:0:0:0:0:3"]],
  ["south.gw5.node.covey", "A", ["south.gw5.node.covey 5 A 10.0.0.5"]],
  ["gw1.node.covey", "SRV", ["gw1.node.covey 5 SRV 1 1 7946 gw1.node.covey"]],
  // An alias has nothing but itself, whatever is asked.
  ["gw4.node.covey", "A", ["gw4.node.covey 5 CNAME gw4.plant.example"]],
  ["gw4.node.covey", "AAAA", ["gw4.node.covey 5 CNAME gw4.plant.example"]],
  ["gw4.node.covey", "SRV", ["gw4.node.covey 5 CNAME gw4.plant.example"]],
  ["gw4.node.covey", "ANY", ["gw4.node.covey 5 CNAME gw4.plant.example"]],
  ["kv.service.covey", "A", ["kv.service.covey 5 A 10.0.0.1", "kv.service.covey 5 A 10.0.0.2"]],
  ["kv.service.covey", "AAAA", ["kv.service.covey 5 AAAA 2001:db8:0:0:0:0:0:3"]],
  ["kv.service.covey", "SRV", [
    "kv.service.covey 5 SRV 1 1 7000 gw2.node.covey",
    "kv.service.covey 5 SRV 1 1 7946 gw1.node.covey",
    "kv.service.covey 5 SRV 1 1 7946 gw3.node.covey",
    "kv.service.covey 5 SRV 1 1 7946 gw4.plant.example",
  ]],
  ["_kv._tcp.service.covey", "SRV", [
    "_kv._tcp.service.covey 5 SRV 1 1 7000 gw2.node.covey",
    "_kv._tcp.service.covey 5 SRV 1 1 7946 gw1.node.covey",
    "_kv._tcp.service.covey 5 SRV 1 1 7946 gw3.node.covey",
    "_kv._tcp.service.covey 5 SRV 1 1 7946 gw4.plant.example",
  ]],
  ["_kv._spare.service.covey", "SRV", [
    "_kv._spare.service.covey 5 SRV 1 1 7000 gw2.node.covey",
  ]],
  ["hall-2.kv.service.covey", "A", ["hall-2.kv.service.covey 5 A 10.0.0.2"]],
  ["hall-2.kv.service.covey", "AAAA", ["hall-2.kv.service.covey 5 AAAA 2001:db8:0:0:0:0:0:3"]],
  ["hall-1.pumps.service.covey", "SRV", [
    "hall-1.pumps.service.covey 5 SRV 1 1 7946 gw1.node.covey",
  ]],
  ["valves.service.covey", "SRV", ["valves.service.covey 5 SRV 1 1 7946 gw4.plant.example"]],
  ["covey", "SOA", [soa]],
  ["covey", "NS", ["covey 5 NS gw1.node.covey"]],
  ["kv.service.covey", "ANY", ['kv.service.covey 5 HINFO "\\u0007RFC8482\\u0000"']],
  ["covey", "ANY", ['covey 5 HINFO "\\u0007RFC8482\\u0000"']],
];

for (const [name, type, records] of positive) {
  test(`dns: ${type} of ${name}`, () => {
    const answer = ask(name, type, { id: 77, recursionDesired: true });
    assert.deepEqual([...answer.answers].sort(), [...records].sort());
    assert.deepEqual([answer.id, answer.code, answer.authoritative], [77, 0, true]);
    assert.deepEqual([answer.truncated, answer.recursionDesired], [false, true]);
    assert.equal(answer.recursionAvailable, false);
    assert.deepEqual(answer.questions, [`${name} ${type}`]);
    assert.deepEqual(answer.authority, []);
  });
}

const noData: readonly [string, keyof typeof types | number][] = [
  ["gw1.node.covey", "AAAA"],
  ["gw3.node.covey", "A"],
  ["gw1.node.covey", "TXT"],
  ["gw1.node.covey", 65_280],
  // Reached by a unix socket.
  ["local.node.covey", "A"],
  ["local.node.covey", "SRV"],
  // Only a host name offers it: no alias beside a service.
  ["valves.service.covey", "A"],
  ["hall-1.pumps.service.covey", "AAAA"],
  ["kv.service.covey", "TXT"],
  ["_kv._tcp.service.covey", "A"],
  // Names that exist because others lie below them.
  ["node.covey", "A"],
  ["service.covey", "SRV"],
  ["gw5.node.covey", "A"],
  ["_tcp.service.covey", "SRV"],
  ["_spare.service.covey", "SRV"],
  ["covey", "A"],
  ["covey", "TXT"],
];

for (const [name, type] of noData) {
  test(`dns: ${name} has no ${type}`, () => {
    const answer = ask(name, type);
    assert.deepEqual([answer.code, answer.authoritative], [0, true]);
    assert.deepEqual([answer.answers, answer.additional], [[], []]);
    assert.deepEqual(answer.authority, [soa]);
  });
}

const nonexistent = [
  "gw9.node.covey",
  "x.gw1.node.covey",
  "north.gw5.node.covey",
  "nobody.service.covey",
  "spare.pumps.service.covey",
  "x.hall-1.pumps.service.covey",
  "_kv._udp.service.covey",
  "_nobody._tcp.service.covey",
  "_udp.service.covey",
  "gw1.covey",
  "kv.covey",
  "gw1.node.node.covey",
  "_kv._tcp._tcp.service.covey",
];

for (const name of nonexistent) {
  test(`dns: nobody has the name ${name}`, () => {
    for (const type of ["A", "AAAA", "SRV", "ANY", "TXT"] as const) {
      const answer = ask(name, type);
      assert.deepEqual([answer.code, answer.authoritative], [3, true], type);
      assert.deepEqual([answer.answers, answer.additional], [[], []]);
      assert.deepEqual(answer.authority, [soa]);
    }
  });
}

test("dns: services come with the addresses of their targets", () => {
  assert.deepEqual([...ask("kv.service.covey", "SRV").additional].sort(), [
    "gw1.node.covey 5 A 10.0.0.1",
    "gw2.node.covey 5 A 10.0.0.2",
    "gw3.node.covey 5 AAAA 2001:db8:0:0:0:0:0:3",
  ]);
  assert.deepEqual(ask("covey", "NS").additional, ["gw1.node.covey 5 A 10.0.0.1"]);
});

test("dns: case means nothing, and comes back as it was asked", () => {
  const answer = ask("kV.SeRviCe.COVEY", "A");
  assert.deepEqual(answer.questions, ["kV.SeRviCe.COVEY A"]);
  assert.deepEqual([...answer.answers].sort(), [
    "kV.SeRviCe.COVEY 5 A 10.0.0.1",
    "kV.SeRviCe.COVEY 5 A 10.0.0.2",
  ]);
  assert.equal(ask("NOBODY.SERVICE.COVEY", "A").code, 3);
});

test("dns: another zone, another class and transfers are refused", () => {
  const refused: readonly [string, keyof typeof types | number, number?][] = [
    ["example.com", "A"],
    ["", "NS"],
    ["covey.example", "A"],
    ["notcovey", "A"],
    ["xcovey", "SOA"],
    ["version.bind", "TXT", 3],
    ["kv.service.covey", "A", 3],
    ["kv.service.covey", "A", 4],
    ["kv.service.covey", "A", 255],
    ["covey", "AXFR"],
    ["covey", 251],
    ["covey", 249],
    ["covey", 41],
  ];
  for (const [name, type, asked = 1] of refused) {
    const answer = ask(name, type, { class: asked });
    assert.deepEqual([answer.code, answer.authoritative], [5, false], `${type} of ${name}`);
    assert.deepEqual([answer.answers, answer.authority, answer.additional], [[], [], []]);
  }
});

test("dns: a zone of several labels", () => {
  const responder = responderOf(smallView, { domain: "cluster.plant.example" });
  const name = "gw1.node.cluster.plant.example";
  assert.deepEqual(ask(name, "A", { responder }).answers, [`${name} 5 A 10.0.0.1`]);
  assert.equal(ask("plant.example", "SOA", { responder }).code, 5);
  assert.equal(ask("gw1.node.covey", "A", { responder }).code, 5);
});

test("dns: without a view every question of the zone fails, others are refused", () => {
  const responder = responderOf(undefined);
  assert.equal(ask("kv.service.covey", "A", { responder }).code, 2);
  assert.equal(ask("example.com", "A", { responder }).code, 5);
  responder.update(smallView);
  assert.equal(ask("kv.service.covey", "A", { responder }).code, 0);
  responder.update(undefined);
  assert.equal(ask("kv.service.covey", "A", { responder }).code, 2);
});

test("dns: a new view is answered from at once, its epoch is the serial", () => {
  const responder = responderOf(smallView);
  const members = smallView.members.filter(({ name }) => name !== "GW2");
  responder.update({ epoch: 2 ** 32 + 9, self: "gw1", members });
  assert.equal(ask("gw2.node.covey", "A", { responder }).code, 3);
  assert.deepEqual(ask("covey", "SOA", { responder }).answers, [
    "covey 5 SOA gw1.node.covey hostmaster.covey 9 5",
  ]);
});

test("dns: who serves without being a member names no name server", () => {
  const responder = responderOf({ ...smallView, self: "elsewhere" });
  assert.deepEqual(ask("covey", "SOA", { responder }).answers, [
    "covey 5 SOA covey hostmaster.covey 7 5",
  ]);
  const answer = ask("covey", "NS", { responder });
  assert.deepEqual([answer.answers, answer.authority.length], [[], 1]);
});

test("dns: names that are no host names are hidden and counted", () => {
  const responder = responderOf({
    epoch: 1,
    self: "a b",
    members: [
      member("a b", "tcp://10.0.0.1:1", { services: ["kv"] }),
      member("ok", "tcp://10.0.0.2:1", { services: ["kv", "a/b", "x".repeat(64), ""] }),
      member("OK", "tcp://10.0.0.3:1"),
      member("7", "tcp://10.0.0.4:1"),
      member(".", "tcp://10.0.0.5:1"),
      member("", "tcp://10.0.0.6:1"),
    ],
  });
  assert.equal(responder.hidden, 1 + 3 + 1 + 2);
  const { answers } = ask("kv.service.covey", "A", { responder });
  assert.deepEqual(answers, ["kv.service.covey 5 A 10.0.0.2"]);
  assert.deepEqual(ask("ok.node.covey", "A", { responder }).answers, [
    "ok.node.covey 5 A 10.0.0.2",
  ]);
  assert.deepEqual(ask("7.node.covey", "A", { responder }).answers, ["7.node.covey 5 A 10.0.0.4"]);
});

test("dns: addresses that lead nowhere, and an alias for itself", () => {
  const responder = responderOf({
    epoch: 1,
    self: "a",
    members: [
      member("a", "tcp://b.node.covey:1"),
      member("b", "tcp://COVEY:1"),
      member("c", "nonsense"),
      member("d", "vsock://3:1"),
      member("e", "tcp://10.0.0.256:1"),
    ],
  });
  for (const name of ["a", "b", "c", "d", "e"]) {
    const answer = ask(`${name}.node.covey`, "A", { responder });
    assert.deepEqual([answer.code, answer.answers], [0, []], name);
  }
});

test("dns: several members on one machine are one address and several services", () => {
  const members = [1, 2, 3].map((at) =>
    member(`n${at}`, `tcp://127.0.0.1:${7000 + at}`, { services: ["kv", "KV"] })
  );
  const responder = responderOf({ epoch: 1, self: "n1", members });
  assert.deepEqual(ask("kv.service.covey", "A", { responder }).answers, [
    "kv.service.covey 5 A 127.0.0.1",
  ]);
  assert.equal(ask("kv.service.covey", "SRV", { responder }).answers.length, 3);
});
