/** How large answers are, what is malformed, and that neither depends on luck. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes } from "../../../src/base/bytes.ts";
import { Prng } from "../../../src/base/prng.ts";
import { AnswerBudget } from "../../../src/dns/core/budget.ts";
import { serviceLabel } from "../../../src/dns/core/directory.ts";
import { parseQuery } from "../../../src/dns/core/query.ts";
import { Responder } from "../../../src/dns/core/responder.ts";
import { ResponseWriter } from "../../../src/dns/core/writer.ts";
import { decode, question, smallView, wideView } from "../support.ts";

function responderOf(udpMembersMax = 16, view = smallView, seed = 1): Responder {
  const options = { domain: "covey", ttlSeconds: 0, udpMembersMax, tcpMembersMax: 1000 };
  const responder = new Responder(options, new Prng(seed));
  responder.update(view);
  return responder;
}

test("dns: what does not fit is cut at a record, and said to be cut", () => {
  const responder = responderOf(1000, wideView(300));
  const sizes: readonly [number | undefined, number][] = [
    [undefined, 512],
    [0, 512],
    [511, 512],
    [700, 700],
    [1232, 1232],
    [1233, 1232],
    [4096, 1232],
    [65_535, 1232],
  ];
  for (const type of ["A", "SRV"] as const) {
    for (const [bytes, most] of sizes) {
      const edns = bytes === undefined ? undefined : { bytes };
      const asked = question("kv.service.covey", type, { edns });
      const response = responder.respond(asked, "udp");
      const length = response.bytes!.length;
      const answer = decode(response.bytes!);
      assert.ok(length <= most && length > most - 80, `${type} ${bytes}: ${length} bytes`);
      assert.deepEqual([answer.truncated, response.truncated], [true, true]);
      assert.ok(answer.answers.length > 10);
      assert.deepEqual(answer.additional, []);
      assert.equal(answer.edns?.bytes, bytes === undefined ? undefined : 1232);
    }
  }
});

test("dns: over TCP all of it comes, past what a pointer can reach", () => {
  const responder = responderOf(16, wideView(900));
  const response = responder.respond(question("kv.service.covey", "SRV"), "tcp");
  assert.ok(response.bytes!.length > 0x4000 + 1000, `${response.bytes!.length} bytes`);
  const answer = decode(response.bytes!);
  assert.equal(answer.truncated, false);
  assert.equal(new Set(answer.answers).size, 900);
  assert.equal(new Set(answer.additional).size, 900);
});

test("dns: additional records are left out before an answer is", () => {
  const responder = responderOf(12, wideView(12));
  const asked = question("kv.service.covey", "SRV");
  const answer = decode(responder.respond(asked, "udp").bytes!);
  assert.equal(answer.answers.length, 12);
  assert.equal(answer.truncated, false);
  assert.ok(answer.additional.length < 12, "512 bytes do not hold all of them");
});

test("dns: of many members an answer names some, others each time", () => {
  const responder = responderOf(16, wideView(100));
  const asked = question("kv.service.covey", "A", { edns: {} });
  const counts = new Map<string, number>();
  for (let round = 0; round < 500; round++) {
    const response = responder.respond(asked, "udp");
    const { answers } = decode(response.bytes!);
    assert.equal(new Set(answers).size, 16);
    assert.deepEqual([response.sampled, response.truncated], [true, false]);
    for (const record of answers) counts.set(record, (counts.get(record) ?? 0) + 1);
  }
  // 80 each are expected; the standard deviation is 8.
  assert.equal(counts.size, 100);
  const extremes = [Math.min(...counts.values()), Math.max(...counts.values())];
  assert.ok(extremes[0] > 40 && extremes[1] < 120, extremes.join());
});

test("dns: each member is as often the first", () => {
  const responder = responderOf(16, wideView(4));
  const firsts = new Map<string, number>();
  for (let round = 0; round < 400; round++) {
    const response = responder.respond(question("kv.service.covey", "A"), "udp");
    const [first] = decode(response.bytes!).answers;
    firsts.set(first, (firsts.get(first) ?? 0) + 1);
    assert.equal(response.sampled, false);
  }
  assert.equal(firsts.size, 4);
  assert.ok([...firsts.values()].every((count) => count > 60 && count < 140));
});

test("dns: a short answer is never longer than its question", () => {
  const responder = responderOf(1000, wideView(300));
  for (const name of ["kv.service.covey", "nobody.service.covey", "covey", "example.com"]) {
    for (const type of ["A", "SRV", "SOA", "ANY"] as const) {
      for (const edns of [undefined, {}]) {
        const asked = question(name, type, { edns });
        const { bytes, truncated } = responder.respond(asked, "udp", true);
        assert.ok(bytes!.length <= asked.length);
        assert.equal(decode(bytes!).truncated, truncated);
        assert.equal(truncated, name !== "example.com");
      }
    }
  }
});

test("dns: what the OPT record says comes back, other versions are refused", () => {
  const responder = responderOf();
  const dnssec = question("gw1.node.covey", "A", { edns: { dnssec: true } });
  assert.deepEqual(decode(responder.respond(dnssec, "udp").bytes!).edns, {
    bytes: 1232,
    dnssec: true,
  });
  const later = responder.respond(question("gw1.node.covey", "A", { edns: { version: 1 } }), "udp");
  const answer = decode(later.bytes!);
  assert.deepEqual([answer.code, answer.answers, later.outcome], [16, [], "rejected"]);
  assert.equal(answer.edns?.dnssec, false);
});

/** The bytes of a question with some of them replaced. */
function patched(at: number, ...values: number[]): Uint8Array {
  const bytes = question("gw1.node.covey", "A", { edns: {} });
  bytes.set(values, at);
  return bytes;
}

const rejected: readonly [string, Uint8Array, number][] = [
  ["an operation that is no question", patched(2, 0x10, 0), 4],
  ["an update", patched(2, 0x28, 0), 4],
  ["no question", patched(5, 0), 1],
  ["two questions", patched(5, 2), 1],
  ["an answer in a question", patched(7, 1), 1],
  ["an authority in a question", patched(9, 1), 1],
  ["more records than there are", patched(11, 2), 1],
  ["fewer records than there are", patched(11, 0), 1],
  ["a byte behind the message", concatBytes([patched(0), new Uint8Array(1)]), 1],
  ["a pointer in the question", patched(12, 0xc0, 12), 1],
  ["a label of an undefined kind", patched(12, 0x41), 1],
  ["an OPT record that is not the root's", patched(32, 1), 1],
];

for (const [what, message, code] of rejected) {
  test(`dns: ${what} is rejected by its header alone`, () => {
    const { bytes, outcome } = responderOf().respond(message, "udp");
    assert.equal(outcome, "rejected");
    const answer = decode(bytes!);
    assert.deepEqual([answer.id, answer.code, answer.questions], [0x1234, code, []]);
    assert.equal(bytes!.length, 12);
  });
}

test("dns: two OPT records are malformed, other records beside the question are not", () => {
  const plain = question("gw1.node.covey", "A");
  const withRecords = (records: readonly number[][]): Uint8Array => {
    const message = concatBytes([plain, Uint8Array.from(records.flat())]);
    message[11] = records.length;
    return message;
  };
  const opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
  // Its name points to the question's.
  const other = [0xc0, 12, 0, 250, 0, 255, 0, 0, 0, 0, 0, 2, 1, 2];
  assert.equal(parseQuery(withRecords([opt])).kind, "query");
  assert.equal(parseQuery(withRecords([other, opt])).kind, "query");
  assert.equal(parseQuery(withRecords([opt, opt])).kind, "rejected");
});

test("dns: an answer is never answered", () => {
  const responder = responderOf();
  const { bytes } = responder.respond(question("gw1.node.covey", "A"), "udp");
  assert.equal(responder.respond(bytes!, "udp").outcome, "garbage");
  assert.equal(responder.respond(bytes!, "udp").bytes, undefined);
});

test("dns: every question that is cut off is garbage or rejected", () => {
  const whole = question("gw1.node.covey", "A", { edns: {} });
  for (let length = 0; length < whole.length; length++) {
    const { kind } = parseQuery(whole.subarray(0, length));
    assert.equal(kind, length < 12 ? "garbage" : "rejected", `${length} bytes`);
  }
});

test("dns: names of 255 bytes and labels of 63, and nothing beyond", () => {
  const longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
  assert.equal(parseQuery(question(longest, "A")).kind, "query");
  assert.equal(parseQuery(question(`${longest}x`, "A")).kind, "rejected");
  assert.equal(parseQuery(question("a".repeat(64), "A")).kind, "rejected");
});

test("dns: a label with a dot or other bytes in it is a name that nobody has", () => {
  const responder = responderOf();
  const names = [
    ["south.gw5", "node", "covey"],
    ["gw1.node", "covey"],
    ["g w", "node", "covey"],
    ["gw1\u0000", "node", "covey"],
    ["é", "node", "covey"],
  ];
  for (const labels of names) {
    const message = concatBytes([
      Uint8Array.of(0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0),
      ...labels.flatMap((label) => {
        const bytes = new TextEncoder().encode(label);
        return [Uint8Array.of(bytes.length), bytes];
      }),
      Uint8Array.of(0, 0, 1, 0, 1),
    ]);
    const response = responder.respond(message, "udp");
    const answer = decode(response.bytes!);
    assert.equal(answer.code, 3, labels.join());
    assert.deepEqual(answer.authority, ["covey 0 SOA gw1.node.covey hostmaster.covey 7 0"]);
    // The question comes back to the letter.
    assert.deepEqual(response.bytes!.subarray(12, message.length), message.subarray(12));
  }
});

test("dns: a record that had no room leaves nothing to point to", () => {
  const head = {
    id: 1,
    opcode: 0,
    recursionDesired: false,
    authoritative: true,
    code: 0,
    question: question("a.covey", "A").subarray(12),
    extension: undefined,
  } as const;
  const writer = new ResponseWriter(head, 512);
  const owner = "fresh.covey";
  assert.equal(
    writer.add("answer", { kind: "address", ip: new Uint8Array(600), ttlSeconds: 0, owner }),
    false,
  );
  assert.ok(writer.add("answer", { kind: "alias", target: "b", ttlSeconds: 0, owner }));
  assert.ok(writer.add("answer", { kind: "alias", target: "c", ttlSeconds: 0, owner }));
  assert.deepEqual(decode(writer.finish()).answers, [
    "fresh.covey 0 CNAME b",
    "fresh.covey 0 CNAME c",
  ]);
});

/** A valid question with random damage, or nothing but damage. */
function mutant(random: Prng): Uint8Array {
  if (random.chance(0.1)) {
    const bytes = new Uint8Array(random.below(600));
    random.fill(bytes);
    return bytes;
  }
  const name = random.pick(["kv.service.covey", "hall-2.kv.service.covey", "gw4.node.covey", "x"]);
  const edns = random.chance(0.5) ? { bytes: random.below(65_536) } : undefined;
  const type = random.chance(0.5) ? random.pick([1, 28, 33, 255]) : random.below(300);
  let bytes: Uint8Array = question(name, type, { edns, id: random.below(65_536) });
  for (let count = random.below(4); count > 0; count--) {
    bytes[random.below(bytes.length)] = random.below(256);
  }
  if (random.chance(0.2)) bytes = bytes.slice(0, random.below(bytes.length + 1));
  if (random.chance(0.1)) bytes = concatBytes([bytes, new Uint8Array(random.below(40))]);
  return bytes;
}

test("dns: 20,000 damaged questions are answered within their limits, or not at all", () => {
  const random = new Prng(20_251_122);
  const responder = responderOf(1000, wideView(200));
  const outcomes = new Map<string, number>();
  for (let round = 0; round < 20_000; round++) {
    const message = mutant(random);
    const before = message.slice();
    const response = responder.respond(message, "udp");
    assert.deepEqual(message, before, "a question is not written to");
    outcomes.set(response.outcome, (outcomes.get(response.outcome) ?? 0) + 1);
    if (response.bytes === undefined) continue;
    const answer = decode(response.bytes);
    assert.equal(answer.id, message[0] << 8 | message[1]);
    assert.ok(response.bytes.length <= (answer.edns === undefined ? 512 : 1232));
    if (["rejected", "refused", "failed"].includes(response.outcome)) {
      assert.ok(response.bytes.length <= message.length);
    }
  }
  for (const outcome of ["answered", "no_data", "nonexistent", "refused", "rejected", "garbage"]) {
    assert.ok((outcomes.get(outcome) ?? 0) > 50, `${outcome}: ${outcomes.get(outcome)}`);
  }
});

test("dns: a network gets so many bytes, refilled with time, whoever of it asks", () => {
  const budget = new AnswerBudget({
    bytesPerSecond: 1000,
    totalBytesPerSecond: 1_000_000,
    networksMax: 3,
  });
  const one = Uint8Array.of(192, 0, 2, 1);
  const other = Uint8Array.of(192, 0, 2, 200);
  assert.ok(budget.take(one, 600, 0));
  assert.ok(!budget.take(other, 500, 0), "a /24 is one network");
  assert.ok(budget.take(other, 400, 0));
  assert.ok(budget.take(Uint8Array.of(192, 0, 3, 1), 1000, 0), "others have their own");
  assert.ok(!budget.take(one, 500, 499));
  assert.ok(budget.take(one, 500, 500));
  assert.ok(!budget.take(one, 1001, 1_000_000), "no more than a second's at once");
  // A clock that seems to go back gives nothing and takes nothing.
  assert.ok(budget.take(one, 1000, 1_000_000));
  assert.ok(!budget.take(one, 1, 999_000));
  const v6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 0, 1);
  assert.ok(budget.take(v6, 1000, 0));
  v6[7] = 6;
  assert.ok(!budget.take(v6, 1, 0), "a /56 is one network");
});

test("dns: networks that are kept are bounded, and so is what all of them get", () => {
  const budget = new AnswerBudget({
    bytesPerSecond: 1000,
    totalBytesPerSecond: 50_000,
    networksMax: 100,
  });
  let taken = 0;
  for (let at = 0; at < 10_000; at++) {
    if (budget.take(Uint8Array.of(10, at >> 8, at & 255, 1), 500, 0)) taken++;
    assert.ok(budget.size <= 100);
  }
  assert.equal(taken, 100, "made-up networks share one budget");
});

test("dns: what a protobuf service is called", () => {
  assert.equal(serviceLabel("covey.kv.v1.KV"), "kv");
  assert.equal(serviceLabel("acme.plant.v1.PumpControl"), "pumpcontrol");
  assert.equal(serviceLabel("Plain"), "plain");
});
