/** Seeds, datagrams and the table of what was heard: values in, values out. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { crc32c } from "../../src/base/crc32c.ts";
import { CoveyError } from "../../src/base/error.ts";
import { Prng } from "../../src/base/prng.ts";
import {
  type Announcement,
  dialledAddress,
  encodeAnnouncement,
  parseAnnouncement,
} from "../../src/discovery/core/announcement.ts";
import { HeardTable } from "../../src/discovery/core/heard_table.ts";
import { parseSeed } from "../../src/discovery/core/seed.ts";

const sender = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const plain: Announcement = {
  kind: "announcement",
  sender,
  cluster: "8d2f",
  address: "tcp://10.0.0.1:7946",
};

test("discovery: seeds are addresses and names of both kinds", () => {
  assert.deepEqual(parseSeed("tcp://10.0.0.1:7946"), {
    kind: "address",
    address: "tcp://10.0.0.1:7946",
  });
  assert.deepEqual(parseSeed("unix:/run/covey.sock"), {
    kind: "address",
    address: "unix:/run/covey.sock",
  });
  assert.deepEqual(parseSeed("dns://covey.example:7946"), {
    kind: "hosts",
    text: "dns://covey.example:7946",
    name: "covey.example",
    port: 7946,
  });
  assert.deepEqual(parseSeed("srv://_covey._tcp.example"), {
    kind: "services",
    text: "srv://_covey._tcp.example",
    name: "_covey._tcp.example",
  });
});

test("discovery: bad seeds are refused, with what is wrong and what is allowed", () => {
  const bad: Record<string, RegExp> = {
    "dns://covey.example": /port is missing/,
    "dns://covey.example:0": /port is missing or not one/,
    "dns://covey.example:65536": /port is missing or not one/,
    "dns://covey.example:x": /port is missing or not one/,
    "dns://:7946": /not a host name/,
    "dns://a b:7946": /not a host name/,
    "dns://10.0.0.1:7946": /write tcp:\/\/ before it/,
    "dns://[::1]:7946": /write tcp:\/\/ before it/,
    "dns://::1": /write tcp:\/\/ before it/,
    "srv://": /not a host name/,
    "srv://_covey._tcp.example:7946": /not a host name/,
    "srv://10.0.0.1": /not a host name/,
    "http://example.com": /scheme/,
    "": /scheme/,
  };
  for (const [text, pattern] of Object.entries(bad)) {
    assert.throws(() => parseSeed(text), (error: unknown) => {
      return error instanceof CoveyError && error.code === 3 && pattern.test(error.rawMessage) &&
        error.rawMessage.includes("allowed: tcp://host:port");
    }, text);
  }
});

test("discovery: what is announced is read as it was", () => {
  const announcements: Announcement[] = [
    plain,
    { ...plain, kind: "question" },
    { ...plain, cluster: "" },
    { ...plain, cluster: "a".repeat(64) },
    { ...plain, address: "tcp://[2001:db8::1]:1" },
    { ...plain, address: "tcp://gw-1.plant.example:65535" },
    { ...plain, address: "tcp://0.0.0.0:7946" },
    { ...plain, address: `tcp://${"a.".repeat(120)}b:1` },
  ];
  for (const announcement of announcements) {
    const bytes = encodeAnnouncement(announcement);
    assert.ok(bytes.length <= 340);
    assert.deepEqual(parseAnnouncement(bytes), announcement);
  }
});

test("discovery: the bytes of version 1 stay what they are", () => {
  const hex = Array.from(
    encodeAnnouncement(plain),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
  assert.equal(
    hex,
    "63767964" + "01" + "01" + "0102030405060708" + "04" + "38643266" + "13" +
      "7463703a2f2f31302e302e302e313a37393436" + checksumHex,
  );
});
// By a program of a few lines beside ours.
const checksumHex = "fc1aa881";

test("discovery: a later version is told from garbage", () => {
  const bytes = encodeAnnouncement(plain);
  bytes[4] = 2;
  assert.equal(parseAnnouncement(bytes).kind, "version");
  assert.equal(parseAnnouncement(bytes.subarray(0, 5)).kind, "version");
  assert.equal(parseAnnouncement(bytes.subarray(0, 4)).kind, "garbage");
});

/** A datagram whose checksum is right, whatever the rest is. */
function sealed(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(body.length + 4);
  bytes.set(body);
  new DataView(bytes.buffer).setUint32(body.length, crc32c(body));
  return bytes;
}

function bodyOf(cluster: string, address: string, kind = 1): Uint8Array {
  const parts = [cluster, address].map(encodeText);
  return Uint8Array.from([
    ...encodeText("cvyd"),
    ...[1, kind],
    ...sender,
    ...parts.flatMap((part) => [part.length, ...part]),
  ]);
}

test("discovery: a datagram with a good checksum and bad contents is garbage", () => {
  assert.equal(parseAnnouncement(sealed(bodyOf("c", "tcp://10.0.0.1:1"))).kind, "announcement");
  const bodies: Uint8Array[] = [
    bodyOf("c", "tcp://10.0.0.1:1", 0),
    bodyOf("c", "tcp://10.0.0.1:1", 3),
    bodyOf("c d", "tcp://10.0.0.1:1"),
    bodyOf("é", "tcp://10.0.0.1:1"),
    bodyOf("x".repeat(65), "tcp://10.0.0.1:1"),
    bodyOf("c", ""),
    bodyOf("c", "tcp://10.0.0.1:0"),
    bodyOf("c", "tcp://10.0.0.1:01"),
    bodyOf("c", "tcp://10.0.0.1:65536"),
    bodyOf("c", "tcp://10.0.0.256:1"),
    bodyOf("c", "tcp://239.255.77.46:1"),
    bodyOf("c", "tcp://255.255.255.255:1"),
    bodyOf("c", "tcp://[ff02::1]:1"),
    bodyOf("c", "tcp://a b:1"),
    bodyOf("c", "tcp://a\u0000:1"),
    bodyOf("c", "unix:/run/covey.sock"),
    bodyOf("c", "http://10.0.0.1:1"),
    Uint8Array.from([...bodyOf("c", "tcp://10.0.0.1:1"), 0]),
    bodyOf("c", "tcp://10.0.0.1:1").subarray(0, -1),
    bodyOf("c", "tcp://10.0.0.1:1").subarray(0, 14),
  ];
  for (const body of bodies) {
    assert.equal(parseAnnouncement(sealed(body)).kind, "garbage", String.fromCharCode(...body));
  }
});

test("discovery: cut off anywhere, or with a byte changed, it is nothing", () => {
  const whole = encodeAnnouncement(plain);
  for (let length = 0; length < whole.length; length++) {
    assert.notEqual(parseAnnouncement(whole.subarray(0, length)).kind, "announcement");
  }
  for (let at = 0; at < whole.length; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      const bytes = whole.slice();
      bytes[at] ^= flip;
      assert.equal(parseAnnouncement(bytes).kind, at === 4 ? "version" : "garbage", `byte ${at}`);
    }
  }
});

test("discovery: 20,000 damaged datagrams never throw, what is read is sound", () => {
  const random = new Prng(20_251_122);
  const kinds = new Map<string, number>();
  for (let round = 0; round < 20_000; round++) {
    let body = random.chance(0.1) ? new Uint8Array(random.below(400)) : bodyOf(
      random.pick(["", "c", "8d2f"]),
      random.pick(["tcp://10.0.0.1:1", "tcp://a:9"]),
      random.between(1, 3),
    );
    if (body[0] === 0) random.fill(body);
    for (let count = random.below(3); count > 0; count--) {
      if (body.length > 0) body[random.below(body.length)] = random.below(256);
    }
    if (random.chance(0.2)) body = body.slice(0, random.below(body.length + 1));
    const bytes = random.chance(0.9) ? sealed(body) : body;
    const heard = parseAnnouncement(bytes);
    kinds.set(heard.kind, (kinds.get(heard.kind) ?? 0) + 1);
    if (heard.kind === "garbage" || heard.kind === "version") continue;
    // What is read can be written again and is the same.
    assert.deepEqual(encodeAnnouncement(heard), bytes);
    dialledAddress(heard.address, "10.0.0.9");
  }
  for (const kind of ["announcement", "question", "garbage", "version"]) {
    assert.ok((kinds.get(kind) ?? 0) > 10, `${kind}: ${kinds.get(kind)}`);
  }
});

test("discovery: an address of everywhere is that of the sender", () => {
  assert.equal(dialledAddress("tcp://0.0.0.0:7946", "10.0.0.9"), "tcp://10.0.0.9:7946");
  assert.equal(dialledAddress("tcp://[::]:7946", "fd00::9"), "tcp://[fd00::9]:7946");
  assert.equal(dialledAddress("tcp://10.0.0.1:7946", "10.0.0.9"), "tcp://10.0.0.1:7946");
  assert.equal(dialledAddress("tcp://gw1:7946", "10.0.0.9"), "tcp://gw1:7946");
});

test("discovery: the table is bounded, in all and for each sender", () => {
  const table = new HeardTable({ candidatesMax: 5, perSenderMax: 3, lifetimeMs: 100 });
  for (let at = 0; at < 3; at++) assert.equal(table.heard(`a${at}`, "A", 0), "new");
  assert.equal(table.heard("a3", "A", 0), "full");
  assert.equal(table.heard("b0", "B", 0), "new");
  assert.equal(table.heard("b1", "B", 0), "new");
  assert.equal(table.heard("b2", "B", 0), "full");
  assert.equal(table.heard("c0", "C", 0), "full");
  assert.equal(table.heard("a1", "C", 50), "known");
  assert.deepEqual(table.addresses(), ["a0", "a1", "a2", "b0", "b1"]);
  assert.equal(table.expire(99), false);
  assert.equal(table.expire(100), true);
  assert.deepEqual(table.addresses(), ["a1"]);
  // The places of those that went are free, for their senders as well.
  assert.equal(table.heard("a3", "A", 100), "new");
  assert.equal(table.heard("a4", "A", 100), "new");
  assert.equal(table.heard("a5", "A", 100), "full");
  assert.equal(table.expire(10_000), true);
  assert.equal(table.size, 0);
  for (let at = 0; at < 3; at++) assert.equal(table.heard(`a${at}`, "A", 0), "new");
});
