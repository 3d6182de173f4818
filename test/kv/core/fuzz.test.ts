/** Bytes that nobody wrote: refused alike by every replica, and nothing else happens. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteReader, ByteWriter } from "../../../src/kv/core/bytes.ts";
import { CommandSource } from "./commands.ts";
import {
  commandVersion,
  decodeCommand,
  encodeCommand,
} from "../../../src/kv/core/command_codec.ts";
import { decodeResult, encodeResult } from "../../../src/kv/core/result_codec.ts";
import { applied, digest, Harness, piecesOf, restored } from "./support.ts";
import { KvMachine } from "../../../src/kv/core/kv_machine.ts";
import { latin, Twin } from "./twin.ts";
import { snapshotVersion } from "../../../src/kv/core/snapshot.ts";
import { Prng } from "../../../src/base/prng.ts";
import type { RestoreProblem } from "../../../src/kv/core/restore.ts";

/** Flips, cuts, doubles or grows. */
function damaged(prng: Prng, bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  switch (prng.below(5)) {
    case 0:
      if (copy.length > 0) copy[prng.below(copy.length)] ^= 1 << prng.below(8);
      return copy;
    case 1:
      return copy.subarray(0, prng.below(copy.length + 1));
    case 2:
      return Uint8Array.of(...copy, prng.below(256));
    case 3:
      if (copy.length > 0) copy[prng.below(copy.length)] = prng.pick([0, 1, 127, 128, 255]);
      return copy;
    default: {
      const noise = new Uint8Array(prng.below(40));
      prng.fill(noise);
      return Uint8Array.of(1, prng.below(256), ...noise);
    }
  }
}

test("damaged commands: two replicas answer the same and stay the same", () => {
  const prng = new Prng(11);
  const twin = new Twin();
  const source = new CommandSource(prng.fork(), twin, 10);
  const first = new Harness(), second = new Harness();
  let malformed = 0;
  for (let round = 0; round < 4_000; round++) {
    const { command, session } = source.next();
    if (encodeCommand(command).length > 2_000) continue;
    const good = encodeCommand(command, session);
    let data = prng.chance(0.7) ? damaged(prng, good) : good;
    // A damaged version byte would end both, as it should.
    if (data.length > 1 && data[0] > 1) data = Uint8Array.of(1, ...data.subarray(1));
    const result = first.bytes(data);
    assert.deepEqual(second.bytes(data), result);
    if (result.kind === "failure" && result.reason === "malformed") malformed++;
    if (round % 200 === 0) {
      assert.equal(digest(first.machine), digest(second.machine));
      second.machine = restored(piecesOf(second.machine));
      assert.equal(first.machine.check(), undefined);
    }
  }
  assert.ok(malformed > 500, `${malformed} were malformed`);
  assert.equal(digest(first.machine), digest(second.machine));
});

test("what is decoded is encoded again to the same bytes", () => {
  const prng = new Prng(12);
  const source = new CommandSource(prng.fork(), new Twin(), 10);
  for (let round = 0; round < 2_000; round++) {
    const { command, session } = source.next();
    const bytes = encodeCommand(command, session);
    const decoded = decodeCommand(bytes);
    assert.ok(typeof decoded !== "string");
    assert.deepEqual(encodeCommand(decoded.command, decoded.session), bytes);
  }
});

test("a command of a newer version is refused and not counted as applied", () => {
  const store = new Harness();
  const result = store.bytes(Uint8Array.of(commandVersion + 1, 1, 0));
  assert.ok(result.kind === "failure" && result.reason === "unsupported_version");
  assert.ok(store.machine.isFatal(result));
  assert.equal(store.machine.appliedIndex, 0);
  for (const data of [Uint8Array.of(commandVersion + 1), new Uint8Array(2_000_000).fill(255)]) {
    assert.ok(store.machine.isFatal(store.bytes(data)));
  }
  const other = store.bytes(Uint8Array.of(0, 1));
  assert.ok(other.kind === "failure" && other.reason === "malformed");
  assert.ok(!store.machine.isFatal(other));
});

test("limits that would lock everybody out are malformed", () => {
  const store = new Harness();
  const result = store.apply({ kind: "configure", limits: { requestBytesMax: 10 } });
  assert.ok(result.kind === "failure" && result.reason === "malformed");
});

test("a transaction nested without end is refused, not followed", () => {
  const deep = new Uint8Array(99_999);
  for (let at = 0; at < deep.length; at += 3) deep.set([0, 1, 3], at);
  const store = new Harness();
  const result = store.bytes(Uint8Array.of(1, 3, ...deep));
  assert.ok(result.kind === "failure" && result.reason === "malformed");
});

test("damaged results decode to nothing or to a result, and never throw", () => {
  const prng = new Prng(13);
  const store = new Harness();
  const source = new CommandSource(prng.fork(), new Twin(), 4);
  for (let round = 0; round < 2_000; round++) {
    const bytes = encodeResult(store.apply(source.command()));
    assert.notEqual(decodeResult(bytes), undefined);
    decodeResult(damaged(prng, bytes));
  }
});

/** A machine with something of everything. */
function full(): KvMachine {
  const prng = new Prng(14);
  const twin = new Twin();
  const source = new CommandSource(prng, twin, 20);
  const machine = new KvMachine();
  for (let index = 1; index <= 400; index++) {
    const envelope = source.next();
    if (envelope.command.kind === "configure") continue;
    twin.apply(envelope, index);
    applied(machine, {
      index,
      term: 1,
      data: encodeCommand(envelope.command, envelope.session),
    });
  }
  return machine;
}

function restoring(pieces: readonly Uint8Array[]): RestoreProblem | undefined {
  const sink = new KvMachine().restore();
  for (const piece of pieces) {
    const problem = sink.push(piece);
    if (problem !== undefined) return problem;
  }
  return sink.finish();
}

test("a snapshot that is cut short is incomplete, at every length", () => {
  const whole = Uint8Array.from(piecesOf(full()).flatMap((piece) => [...piece]));
  assert.equal(restoring([whole]), undefined);
  for (let length = 0; length < whole.length; length += 7) {
    assert.equal(restoring([whole.subarray(0, length)]), "incomplete");
  }
  assert.equal(restoring([whole, Uint8Array.of(1)]), "corrupt");
});

test("a damaged snapshot is refused or leaves a sound machine; a newer one is told", () => {
  const prng = new Prng(15);
  const whole = Uint8Array.from(piecesOf(full()).flatMap((piece) => [...piece]));
  let refusedCount = 0;
  for (let round = 0; round < 1_500; round++) {
    if (restoring([damaged(prng, whole)]) !== undefined) refusedCount++;
  }
  assert.ok(refusedCount > 700, `${refusedCount} were refused`);
  const newer = whole.slice();
  newer[8] = snapshotVersion + 1;
  assert.equal(restoring([newer]), "unsupported_version");
  const foreign = whole.slice();
  foreign[0] ^= 1;
  assert.equal(restoring([foreign]), "corrupt");
});

/** The items of a snapshot, each with its tag and length, after the first nine bytes. */
function itemsOf(snapshot: Uint8Array): Uint8Array[] {
  const reader = new ByteReader(snapshot, 9);
  const items: Uint8Array[] = [];
  while (reader.left > 0) {
    const from = reader.position;
    reader.byte();
    reader.skipBytes();
    items.push(snapshot.subarray(from, reader.position));
  }
  return items;
}

test("a snapshot whose items contradict each other is refused", () => {
  const whole = Uint8Array.from(piecesOf(full()).flatMap((piece) => [...piece]));
  const items = itemsOf(whole);
  const head = whole.subarray(0, 9);
  assert.equal(restoring([head, ...items]), undefined);
  const first = (tag: number): number => items.findIndex((item) => item[0] === tag);
  for (const tag of [5, 6]) {
    const at = first(tag);
    assert.ok(at > 0 && items[at + 1][0] === tag, `two items of tag ${tag}`);
    const swapped = [...items];
    [swapped[at], swapped[at + 1]] = [swapped[at + 1], swapped[at]];
    assert.equal(restoring([head, ...swapped]), "corrupt", `items of tag ${tag} swapped`);
  }
  for (const [at, item] of items.entries()) {
    if (at === items.length - 1) break;
    const without = items.filter((one) => one !== item);
    assert.equal(restoring([head, ...without]), "corrupt", `without item ${at}`);
    // The same with an end that agrees: then only what the records add up to can tell.
    if (item[0] !== 5) continue;
    const end = new ByteWriter().byte(7).bytes(new ByteWriter().number(items.length - 2).finish());
    const agreed = [...without.slice(0, -1), end.finish()];
    assert.equal(restoring([head, ...agreed]), "corrupt", `without record ${at}`);
  }
});

test("a machine whose restore failed can be restored again", () => {
  const machine = full();
  const pieces = piecesOf(machine, 1_000);
  const target = new KvMachine();
  const first = target.restore();
  first.push(pieces[0]);
  assert.equal(first.finish(), "incomplete");
  const second = target.restore();
  for (const piece of pieces) assert.equal(second.push(piece), undefined);
  assert.equal(second.finish(), undefined);
  assert.equal(digest(target), digest(machine));
  assert.equal(text(target), text(machine));
});

function text(machine: KvMachine): string {
  const all = machine.events({
    key: latin("\0"),
    end: latin("\0"),
    from: { revision: machine.compactRevision, sub: 0 },
    previous: true,
    eventsMax: 1e6,
    bytesMax: 1e9,
    changesMax: 1e6,
  });
  return JSON.stringify(all);
}
