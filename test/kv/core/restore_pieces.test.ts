/** A snapshot comes in pieces that are cut anywhere: what is made of it does not depend on that. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, encodeText } from "../../../src/base/bytes.ts";
import { Prng } from "../../../src/base/prng.ts";
import { encodeCommand } from "../../../src/kv/core/command_codec.ts";
import { KvMachine } from "../../../src/kv/core/kv_machine.ts";
import type { RestoreProblem } from "../../../src/kv/core/restore.ts";
import { CommandSource } from "./commands.ts";
import { applied, digest, Harness, piecesOf } from "./support.ts";
import { Twin } from "./twin.ts";

/** A machine with something of everything. */
function full(seed: number): KvMachine {
  const twin = new Twin();
  const source = new CommandSource(new Prng(seed), twin, 20);
  const machine = new KvMachine();
  for (let index = 1; index <= 300; index++) {
    const { command, session } = source.next();
    if (command.kind === "configure") continue;
    twin.apply({ command, session }, index);
    applied(machine, { index, term: 1, data: encodeCommand(command, session) });
  }
  return machine;
}

function restoring(pieces: readonly Uint8Array[]): RestoreProblem | KvMachine {
  const machine = new KvMachine();
  const sink = machine.restore();
  for (const piece of pieces) {
    const problem = sink.push(piece);
    if (problem !== undefined) return problem as RestoreProblem;
  }
  return sink.finish() as RestoreProblem | undefined ?? machine;
}

/** What became of it: the problem, or all that the machine holds. */
function outcome(pieces: readonly Uint8Array[]): string {
  const restored = restoring(pieces);
  return typeof restored === "string" ? restored : digest(restored);
}

function cutEvery(whole: Uint8Array, bytes: number): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < whole.length; at += bytes) pieces.push(whole.subarray(at, at + bytes));
  return pieces;
}

test("a snapshot cut in two anywhere, or into pieces of any size, is the same machine", () => {
  const machine = full(3);
  const whole = concatBytes(piecesOf(machine));
  const expected = digest(machine);
  for (let at = 0; at <= whole.length; at += 5) {
    assert.equal(outcome([whole.subarray(0, at), whole.subarray(at)]), expected, `cut at ${at}`);
  }
  for (const bytes of [1, 2, 3, 5, 8, 9, 10, 31, 100, 1000]) {
    assert.equal(outcome(cutEvery(whole, bytes)), expected, `pieces of ${bytes}`);
  }
});

test("a damaged snapshot ends the same way however it is cut", () => {
  const prng = new Prng(5);
  const whole = concatBytes(piecesOf(full(4)));
  const seen = new Set<string>();
  for (let round = 0; round < 600; round++) {
    const damaged = whole.slice(0, prng.chance(0.3) ? prng.below(whole.length) : whole.length);
    for (let flips = prng.below(3); flips > 0; flips--) {
      damaged[prng.below(damaged.length)] ^= 1 << prng.below(8);
    }
    const expected = outcome([damaged]);
    seen.add(expected.length > 20 ? "restored" : expected);
    // Never a machine where there was a problem, nor another machine; an early end of the bytes
    // may hide what is wrong with a length.
    const found = outcome(cutEvery(damaged, prng.between(1, 40)));
    const problems = ["corrupt", "incomplete"];
    const same = found === expected || problems.includes(found) && problems.includes(expected);
    assert.ok(same, `round ${round}: ${found}, whole: ${expected}`);
  }
  assert.ok(seen.has("corrupt") && seen.has("incomplete"), [...seen].join());
});

test("keys come back wherever they were written: in order, backwards, at random", () => {
  const prng = new Prng(6);
  const orders: ((index: number) => number)[] = [
    (index) => index,
    (index) => 5000 - index,
    () => prng.below(3000),
    (index) => index % 7 === 0 ? prng.below(2000) : index,
  ];
  for (const order of orders) {
    const store = new Harness();
    for (let index = 0; index < 2500; index++) {
      const key = encodeText(`key/${String(order(index)).padStart(5, "0")}`);
      const value = encodeText(`value ${index}`);
      const result = store.apply({
        kind: "put",
        key,
        value,
        lease: 0,
        previous: false,
        ignoreValue: false,
        ignoreLease: false,
      });
      assert.notEqual(result.kind, "failure");
    }
    assert.equal(outcome(piecesOf(store.machine)), digest(store.machine));
  }
});
