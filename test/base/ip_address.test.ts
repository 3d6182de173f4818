/** Addresses as text, and what can be a name to look up. */
import assert from "node:assert/strict";
import net from "node:net";
import { test } from "node:test";
import { parseIp } from "../../src/base/ip_address.ts";
import { isHostName } from "../../src/base/name_lookup.ts";
import { Prng } from "../../src/base/prng.ts";

test("ip: both families as bytes", () => {
  const good: Record<string, number[]> = {
    "0.0.0.0": [0, 0, 0, 0],
    "192.0.2.255": [192, 0, 2, 255],
    "::": Array(16).fill(0),
    "::1": [...Array(15).fill(0), 1],
    "1::": [0, 1, ...Array(14).fill(0)],
    "2001:DB8::8:800:200c:417a": [
      ...[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0],
      ...[0, 8, 8, 0, 0x20, 0xc, 0x41, 0x7a],
    ],
    "1:2:3:4:5:6:7:8": [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8],
    "1:2:3:4:5:6:7::": [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 0],
    "::ffff:192.0.2.1": [...Array(10).fill(0), 255, 255, 192, 0, 2, 1],
    "1:2:3:4:5:6:192.0.2.1": [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 192, 0, 2, 1],
  };
  for (const [text, bytes] of Object.entries(good)) {
    assert.deepEqual([...parseIp(text) ?? []], bytes, text);
  }
});

test("ip: what is no address", () => {
  const bad = ["", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1.2.3.4 ", "0x1.2.3.4"];
  bad.push("a.b.c.d", "-1.2.3.4", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9");
  bad.push("1:2:3:4:5:6:7:8::", "::12345", "::g", ":1", "1:", "::1.2.3", "1.2.3.4::", "::1%lo");
  bad.push("1.2.3.4:5:6:7:8:9:a:b", "[::1]", "1:2:3:4:5:6:7:1.2.3.4", "localhost");
  for (const text of bad) assert.equal(parseIp(text), undefined, text);
});

test("ip: the same as the platform's own judgement", () => {
  const random = new Prng(1);
  const pieces = ["0", "1", "255", "256", "ffff", "abcd", ".", ":", "::", "10", "f"];
  let good = 0;
  for (let round = 0; round < 50_000; round++) {
    const count = random.between(1, 15);
    const text = Array.from({ length: count }, () => random.pick(pieces)).join("");
    const family = parseIp(text)?.length;
    if (family !== undefined) good++;
    assert.equal(family === 4 ? 4 : family === 16 ? 6 : 0, net.isIP(text), text);
  }
  assert.ok(good > 100, `${good}`);
});

test("names: what can be looked up", () => {
  const good = [
    "a",
    "localhost",
    "gw-1.plant.example",
    "_covey._tcp.example",
    "A.B",
    "a.b.",
    "7.a",
  ];
  good.push("x".repeat(63), `${"abcdefghi.".repeat(25)}abc`);
  for (const name of good) assert.ok(isHostName(name), name);
  const bad = ["", ".", "..", "a..b", ".a", "a b", "1.2.3.4", "a.1", "7", "é", "a/b", "a:1", "::1"];
  bad.push("x".repeat(64), `${"abcdefghi.".repeat(25)}abcd`);
  for (const name of bad) assert.ok(!isHostName(name), name);
});
