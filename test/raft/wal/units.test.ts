/** Checksums, integers and frames by themselves. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { encodeText } from "../../../src/base/bytes.ts";
import { crc32c } from "../../../src/base/crc32c.ts";
import {
  ByteCursor,
  getU48,
  getU64,
  MalformedRecord,
  putU48,
  putU64,
  putVarint,
} from "../../../src/raft/wal/record_bytes.ts";
import { frameBytes } from "../../../src/raft/wal/record_format.ts";
import { encodeSegmentHeader, FrameSeal } from "../../../src/raft/wal/segment.ts";

/** Bit by bit, straight from the definition. */
function naiveCrc32c(bytes: Uint8Array): number {
  let register = 0xffffffff;
  for (const byte of bytes) {
    register ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      register = (register & 1) === 1 ? register >>> 1 ^ 0x82f63b78 : register >>> 1;
    }
  }
  return ~register >>> 0;
}

test("CRC-32C: the published values, a naive twin, and pieces in a row", () => {
  // RFC 3720, appendix B.4.
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, at) => at)), 0x46dd794e);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, at) => 31 - at)), 0x113fdb5c);
  assert.equal(crc32c(encodeText("123456789")), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(0)), 0);
  const bytes = Uint8Array.from({ length: 200 }, (_, at) => Math.imul(at, 2654435761) >>> 24);
  for (let from = 0; from < 20; from++) {
    for (let to = from; to < 60; to++) {
      const expected = naiveCrc32c(bytes.subarray(from, to));
      assert.equal(crc32c(bytes, from, to), expected);
      const middle = (from + to) >> 1;
      assert.equal(crc32c(bytes, middle, to, crc32c(bytes, from, middle)), expected);
    }
  }
});

const numbers = [
  0,
  1,
  127,
  128,
  16_383,
  16_384,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 47,
  2 ** 53 - 1,
];

test("integers up to 2^53 - 1 come back, larger and cut ones are refused", () => {
  const bytes = new Uint8Array(16);
  const cursor = new ByteCursor();
  for (const number of numbers) {
    const end = putVarint(bytes, 0, number);
    assert.equal(cursor.set(bytes, 0, end).varint(), number);
    cursor.finish();
    assert.throws(() => cursor.set(bytes, 0, end - 1).varint(), MalformedRecord);
    putU64(bytes, 3, number);
    assert.equal(getU64(bytes, 3), number);
    if (number < 2 ** 48) {
      putU48(bytes, 1, number);
      assert.equal(getU48(bytes, 1), number);
    }
  }
  assert.equal(getU64(new Uint8Array(8).fill(0xff), 0), undefined);
  bytes.fill(0xff);
  assert.throws(() => cursor.set(bytes, 0, 16).varint(), MalformedRecord);
  // 2^53: eight bytes, one too large.
  const above = Uint8Array.of(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10);
  assert.throws(() => cursor.set(above, 0, 8).varint(), MalformedRecord);
  assert.throws(() => cursor.set(above, 0, 8).pass(9), MalformedRecord);
});

test("a frame is one at its own place of its own segment alone", () => {
  const header = (salt: number): Uint8Array =>
    encodeSegmentHeader({
      sequence: 1,
      salt: new Uint8Array(8).fill(salt),
      logId: new Uint8Array(8),
      firstBatch: 1,
      previousChain: 0,
      previousEnd: 0,
      capacity: 300,
    });
  const bytes = new Uint8Array(300);
  const seal = new FrameSeal(header(1));
  const frame = { batch: 2 ** 40, batchBytes: 7, chain: 0xdeadbeef };
  seal.write(bytes, 100, { ...frame, offset: 100 });
  assert.deepEqual(seal.read(bytes, 100), { ...frame, version: 1 });
  assert.equal(new FrameSeal(header(2)).read(bytes, 100), undefined);
  bytes.copyWithin(200, 100, 100 + frameBytes);
  assert.equal(seal.read(bytes, 200), undefined);
  for (let at = 100; at < 100 + frameBytes; at++) {
    bytes[at] ^= 1;
    assert.equal(seal.read(bytes, at), undefined);
    assert.equal(seal.read(bytes, 100), undefined);
    bytes[at] ^= 1;
  }
});
