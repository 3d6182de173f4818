/** Groups for machines of a program's own: `node.raft.group`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import type { Node } from "../../src/node.ts";
import { CounterMachine, encodeNumbers } from "../support/counter_machine.ts";
import { inFolder, startQuiet } from "./support.ts";

const isCode = (code: Code) => (error: unknown) =>
  error instanceof CoveyError && error.code === code;

test("groups: several at once, a name once, and again after a failure or a removal", async () => {
  await using node = await startQuiet();
  await assert.rejects(
    node.raft.group("many", new CounterMachine(), { replicas: 5 }),
    isCode(Code.failedPrecondition),
  );
  await assert.rejects(
    node.raft.group("no name", new CounterMachine()),
    isCode(Code.invalidArgument),
  );
  const names = ["a", "b", "c", "many"];
  const groups = await Promise.all(
    names.map((name) => node.raft.group(name, new CounterMachine(), { replicas: 1 })),
  );
  assert.deepEqual(groups.map(({ name }) => name), names);
  assert.equal(new Set(groups.map(({ id }) => id)).size, names.length);
  await assert.rejects(node.raft.group("a", new CounterMachine()), isCode(Code.alreadyExists));
  for (const group of groups) assert.equal(await group.propose(encodeNumbers(group.id)), group.id);
  await node.raft.removeGroup("a");
  await assert.rejects(groups[0].propose(encodeNumbers(1)), isCode(Code.notFound));
  const again = await node.raft.group("a", new CounterMachine());
  assert.equal(await again.propose(encodeNumbers(7)), 7);
});

test("groups: a machine or an observer that throws ends nothing but its own group", async () => {
  await using node = await startQuiet();
  class Broken extends CounterMachine {
    override apply(entry: Parameters<CounterMachine["apply"]>[0]): number {
      if (entry.data.length === 8) throw new Error("boom");
      return super.apply(entry);
    }
  }
  const broken = await node.raft.group("broken", new Broken());
  const sound = await node.raft.group("sound", new CounterMachine());
  sound.observe({
    applied: () => {
      throw new Error("an observer's own trouble");
    },
  });
  await assert.rejects(
    broken.propose(encodeNumbers(1)),
    (error) => error instanceof CoveyError && error.code === Code.unavailable,
  );
  await assert.rejects(broken.propose(encodeNumbers(1)), /its machine failed: boom/);
  assert.equal(await sound.propose(encodeNumbers(3)), 3);
  await node.kv.put("a", "b");
  assert.equal((await node.kv.get("a"))?.text, "b");
});

test("groups: one whose machine nobody brings does not hold the log, and loses nothing", () =>
  inFolder(async (folder) => {
    const options = {
      node: { data: folder, memory_only: false },
      raft: { segment_bytes: "256KiB", snapshot_log_bytes: "64KiB", catch_up_bytes: "64KiB" },
    } as const;
    {
      await using node = await startQuiet(options);
      const group = await node.raft.group("counter", new CounterMachine());
      for (let at = 1; at <= 10; at++) await group.propose(encodeNumbers(at));
    }
    {
      await using node = await startQuiet(options);
      const value = new Uint8Array(16 << 10).fill(1);
      let oldest = 1n;
      for (let at = 0; oldest < 10n; at++) {
        assert.ok(at < 2000, "the oldest segments are released");
        await node.kv.put(`key/${at % 10}`, value);
        oldest = await oldestSegment(node);
      }
    }
    await using node = await startQuiet(options);
    const machine = new CounterMachine();
    const group = await node.raft.group("counter", machine);
    assert.equal(await group.propose(encodeNumbers(1)), 56);
  }));

async function oldestSegment(node: Node): Promise<bigint> {
  const { log } = await node.raft.operator.status({});
  return log?.oldestSegment ?? 0n;
}
