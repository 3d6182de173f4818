/** The packed structures below the store, against plain ones. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Arena, slabOf, unitOf } from "../../../src/kv/core/arena.ts";
import { ByteReader, ByteWriter, compareBytes } from "../../../src/kv/core/bytes.ts";
import { History } from "../../../src/kv/core/history.ts";
import { KeyIndex } from "../../../src/kv/core/key_index.ts";
import { noBytes } from "../../../src/kv/core/bytes.ts";
import type { Command } from "../../../src/kv/core/command.ts";
import { Prng } from "../../../src/base/prng.ts";
import { Records } from "../../../src/kv/core/records.ts";
import { Code } from "../../../src/base/error.ts";
import { encodeCommand } from "../../../src/kv/core/command_codec.ts";
import { KvMachine } from "../../../src/kv/core/kv_machine.ts";
import type { KvResult } from "../../../src/kv/core/result.ts";
import { digest, Harness, piecesOf, restored } from "./support.ts";
import { latin } from "./twin.ts";

test("the arena: what is written stays, slots do not overlap, memory comes back", () => {
  const prng = new Prng(7);
  const arena = new Arena();
  const held: { address: number; bytes: number; mark: number }[] = [];
  const fill = (address: number, bytes: number, mark: number): void => {
    arena.slabs[slabOf(address)].bytes.fill(mark, unitOf(address) * 8, unitOf(address) * 8 + bytes);
  };
  const check = ({ address, bytes, mark }: (typeof held)[number]): void => {
    const from = unitOf(address) * 8;
    const found = arena.slabs[slabOf(address)].bytes.subarray(from, from + bytes);
    assert.ok(found.length === bytes && found.every((byte) => byte === mark));
  };
  for (let round = 0; round < 20_000; round++) {
    if (held.length > 0 && prng.chance(round < 10_000 ? 0.4 : 0.6)) {
      const at = prng.below(held.length);
      check(held[at]);
      arena.free(held[at].address);
      held[at] = held[held.length - 1];
      held.pop();
      continue;
    }
    const size = prng.chance(0.9) ? prng.between(8, 700) : prng.between(8, 20_000);
    const one = { address: arena.allocate(size), bytes: size, mark: round & 255 };
    assert.notEqual(one.address, 0);
    fill(one.address, size, one.mark);
    held.push(one);
  }
  const most = arena.bytesHeld;
  for (const one of held) {
    check(one);
    arena.free(one.address);
  }
  // What stays is one slab for each size that was in use, and the spare ones.
  assert.ok(arena.bytesHeld < Math.max(most / 2, 130 * 65_536), `${arena.bytesHeld} of ${most}`);
});

const fields = (version: number) => ({ mod: 1, sub: 0, create: 1, version, lease: 0, previous: 0 });

test("the index keeps keys in order through inserts and removals", () => {
  const prng = new Prng(3);
  const records = new Records();
  const index = new KeyIndex(records);
  const keys = new Map<string, number>();
  const bytesOf = (name: string): Uint8Array => latin(name);
  for (let round = 0; round < 12_000; round++) {
    const name = `k${prng.below(3_000)}`;
    const found = index.find(bytesOf(name));
    assert.equal(found, keys.get(name) ?? 0);
    const inserts = round < 6_000 ? 0.9 : 0.1;
    if (found === 0 && prng.chance(inserts)) {
      const address = records.addKey(bytesOf(name));
      index.insert(address);
      keys.set(name, address);
      records.setNewest(address, records.add(address, fields(prng.below(2)), noBytes));
      if (records.version(records.newest(address)) === 1) index.countLive(1);
    } else if (found !== 0 && prng.chance(1 - inserts)) {
      if (records.version(records.newest(found)) === 1) index.countLive(-1);
      records.arena.free(records.newest(found));
      index.removeFound();
      keys.delete(name);
      records.arena.free(found);
    }
    if (round % 500 === 0) assert.equal(index.check(), undefined);
  }
  assert.equal(index.check(), undefined);
  assert.equal(index.size, keys.size);
  const sorted = [...keys.keys()].map(bytesOf).sort(compareBytes);
  const walked: Uint8Array[] = [];
  const at = { leaf: 0, slot: 0 };
  for (index.seek(noBytes, at); index.settle(at); at.slot++) {
    walked.push(records.keyBytes(index.leaves[at.leaf].keys[at.slot]));
  }
  assert.deepEqual(walked, sorted);
});

test("a leaf that is emptied beside a full one goes, and the search still finds the rest", () => {
  const records = new Records();
  const index = new KeyIndex(records);
  const keys = Array.from({ length: 768 }, (_, at) => latin(String(at).padStart(6, "0")));
  for (const key of keys) index.append(key, records.addKey(key));
  for (const key of keys) {
    const address = index.find(key);
    records.setNewest(address, records.add(address, fields(0), noBytes));
  }
  for (const key of [...keys.slice(256, 512), ...keys.slice(0, 256)]) {
    assert.notEqual(index.find(key), 0);
    index.removeFound();
    assert.equal(index.check(), undefined);
  }
  for (const key of keys.slice(512)) assert.notEqual(index.find(key), 0);
  assert.deepEqual([index.size, index.leaves.length], [256, 1]);
});

test("keys that come in order fill their leaves", () => {
  const records = new Records();
  const index = new KeyIndex(records);
  for (let at = 0; at < 2_560; at++) {
    const key = latin(String(at).padStart(6, "0"));
    assert.ok(index.append(key, records.addKey(key)));
  }
  assert.equal(index.leaves.length, 10);
  assert.equal(index.append(latin("000000"), 1), false);
});

test("the history forgets from the front and keeps its positions", () => {
  const history = new History();
  for (let at = 0; at < 5_000; at++) history.push(at + 1, at * 2);
  for (let at = 0; at < 3_000; at++) history.shift();
  assert.deepEqual([history.begin, history.end], [3_000, 5_000]);
  assert.deepEqual([history.record(3_000), history.sum(4_999)], [3_001, 9_998]);
  for (let at = 0; at < 2_000; at++) history.shift();
  for (let at = 5_000; at < 5_100; at++) history.push(at + 1, 0);
  assert.deepEqual([history.record(5_000), history.record(5_099)], [5_001, 5_100]);
});

test("numbers of every size are read back", () => {
  const numbers = [0, 1, 127, 128, 16_383, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 49, 2 ** 53 - 1];
  const writer = new ByteWriter(1);
  for (const number of numbers) writer.number(number);
  const reader = new ByteReader(writer.finish());
  assert.deepEqual(numbers.map(() => reader.number()), numbers);
  assert.ok(!reader.failed && reader.left === 0);
});

test("numbers above 2^53-1 and cut ones are refused", () => {
  const bad = [[0x80], [], [255, 255, 255, 255, 255, 255, 255, 31], Array(9).fill(0x80)];
  for (const bytes of bad) {
    const reader = new ByteReader(Uint8Array.from(bytes));
    assert.equal(reader.number(), 0);
    assert.ok(reader.failed);
  }
});

test("memory keeps up with large transactions although nobody is idle", () => {
  const store = new Harness();
  const transaction: Command = {
    kind: "transaction",
    compares: [],
    success: Array.from({ length: 128 }, (_, at) => ({
      kind: "put",
      key: latin(`k${at}`),
      value: new Uint8Array(500),
      lease: 0,
      previous: false,
      ignoreValue: false,
      ignoreLease: false,
    })),
    failure: [],
  };
  const round = (): number => {
    for (let at = 0; at < 50; at++) {
      store.apply(transaction);
      store.apply({ kind: "compact", revision: store.machine.revision });
    }
    return store.machine.statistics().memoryBytes;
  };
  const once = round();
  for (let at = 0; at < 5; at++) assert.equal(round(), once);
});

test("a key that is overwritten and compacted again and again takes no more memory", () => {
  const store = new Harness();
  const write = (): void => {
    for (let at = 0; at < 2_000; at++) {
      store.apply({
        kind: "put",
        key: latin(`k${at % 100}`),
        value: new Uint8Array(200),
        lease: 0,
        previous: false,
        ignoreValue: false,
        ignoreLease: false,
      });
    }
    store.apply({ kind: "compact", revision: store.machine.revision });
    while (store.machine.work(100));
  };
  write();
  const once = store.machine.statistics().memoryBytes;
  for (let round = 0; round < 10; round++) write();
  assert.equal(store.machine.statistics().memoryBytes, once);
  assert.equal(store.machine.statistics().bytes, 100 * (64 + 200) + 10 * 2 + 90 * 3);
});

test("a snapshot that is read too slowly is given up before it keeps too much", () => {
  const store = new Harness();
  store.apply({ kind: "configure", limits: { requestBytesMax: 1 << 20 } });
  const value = new Uint8Array(512 * 1024);
  const overwrite = (times: number): void => {
    for (let done = 0; done < times; done++) {
      store.apply({
        kind: "put",
        key: latin("a"),
        value,
        lease: 0,
        previous: false,
        ignoreValue: false,
        ignoreLease: false,
      });
      store.apply({ kind: "compact", revision: store.machine.revision });
    }
  };
  overwrite(4);
  const held = store.machine.statistics().memoryBytes;
  const patient = store.machine.snapshot();
  const hasty = store.machine.snapshot({ pinnedBytesMax: 20 << 20 });
  for (const one of [patient, hasty]) assert.ok(one.next(16) !== undefined);
  overwrite(36);
  assert.ok(hasty.next(16) !== undefined);
  overwrite(8);
  const { pinnedBytes } = store.machine.statistics();
  assert.ok(pinnedBytes > 20 << 20 && pinnedBytes < 24 << 20, `${pinnedBytes}`);
  const slow = { code: Code.resourceExhausted, message: /read too slowly/ };
  assert.throws(() => hasty.next(16), slow);
  assert.ok(patient.next(16) !== undefined);
  overwrite(100);
  assert.throws(() => patient.next(16), slow);
  patient.close();
  while (store.machine.work(1_000));
  const after = store.machine.statistics();
  assert.equal(after.pinnedBytes, 0);
  assert.ok(after.memoryBytes <= held + (80 << 20), `${after.memoryBytes}`);
  assert.equal(digest(store.machine), digest(restored(piecesOf(store.machine))));
});

test("a lease of very many keys ends in slices, from the first one on", () => {
  const keysPerSlice = 16, keys = 2_000;
  const machine = new KvMachine({ keysPerSlice });
  const prng = new Prng(3);
  let index = 0;
  const entry = (command: Command) => ({ index: ++index, term: 1, data: encodeCommand(command) });
  for (const id of [1, 2]) machine.apply(entry({ kind: "leaseGrant", id, ttlMs: 60_000 }));
  const names = Array.from({ length: keys }, (_, at) => `k${String(at).padStart(5, "0")}`);
  for (let left = keys; left > 0; left--) {
    const [name] = names.splice(prng.below(left), 1);
    machine.apply(entry({
      kind: "put",
      key: latin(name),
      value: noBytes,
      lease: 1 + left % 2,
      previous: false,
      ignoreValue: false,
      ignoreLease: false,
    }));
  }
  let copied = 0;
  const { keyBytes } = Records.prototype;
  Records.prototype.keyBytes = function (key: number): Uint8Array {
    copied++;
    return keyBytes.call(this, key);
  };
  const before = machine.revision;
  let slices = 1;
  let result: KvResult | undefined;
  try {
    result = machine.apply(entry({ kind: "leaseExpire", ids: [2, 1, 2] }));
    for (; result === undefined; slices++) {
      assert.ok(copied <= keysPerSlice, `${copied} keys in slice ${slices}`);
      assert.equal(machine.leases().length, 2, "they are there until all is done");
      copied = 0;
      result = machine.resume();
    }
  } finally {
    Records.prototype.keyBytes = keyBytes;
  }
  assert.ok(slices > keys / keysPerSlice, `${slices}`);
  assert.equal(result.kind === "leaseRevoke" && result.deleted, keys);
  assert.deepEqual(machine.leases(), []);
  const told = machine.eventsOf(before + 1).map(({ entry: { key } }) => key);
  assert.deepEqual(told, [...told].sort(compareBytes), "in the order of the keys");
  assert.equal(told.length, keys);
});
