/** Watches under random changes, compactions, restores, slow readers and everything at once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeText } from "../../src/base/bytes.ts";
import { Prng } from "../../src/base/prng.ts";
import type { Command } from "../../src/kv/core/command.ts";
import { encodeCommand } from "../../src/kv/core/command_codec.ts";
import { noBytes, prefixEnd } from "../../src/kv/core/bytes.ts";
import { turns } from "../ttrpc/support/memory_net.ts";
import { FakeCluster } from "./support.ts";
import { History, ModelStream, type ModelWatch } from "./watch_model.ts";

interface Coverage {
  slow: number;
  fragments: number;
  compacted: number;
  progress: number;
  restored: number;
}

const all = { key: Uint8Array.of(0), end: Uint8Array.of(0) };

function keyOf(prng: Prng): Uint8Array {
  return encodeText(`${prng.pick(["a", "b", "c"])}/${prng.below(12)}`);
}

function intervalOf(prng: Prng): { key: Uint8Array; end: Uint8Array } {
  switch (prng.below(4)) {
    case 0:
      return { key: keyOf(prng), end: noBytes };
    case 1: {
      const key = encodeText(`${prng.pick(["a", "b", "c"])}/`);
      return { key, end: prefixEnd(key) };
    }
    case 2:
      return { key: encodeText("a/5"), end: encodeText("b/7") };
    default:
      return all;
  }
}

function commandOf(prng: Prng, revision: number, compacted: number): Command {
  const value = (): Uint8Array => {
    const bytes = new Uint8Array(prng.chance(0.1) ? prng.below(900) : prng.below(20));
    prng.fill(bytes);
    return bytes;
  };
  const put = (key: Uint8Array): Command & { kind: "put" } => ({
    kind: "put",
    key,
    value: value(),
    lease: 0,
    previous: false,
    ignoreValue: false,
    ignoreLease: false,
  });
  const choice = prng.below(100);
  if (choice < 70) return put(keyOf(prng));
  if (choice < 78) {
    return { kind: "deleteRange", ...intervalOf(prng), previous: false };
  }
  if (choice < 96) {
    const keys = new Set(Array.from({ length: prng.between(2, 14) }, () => prng.below(30)));
    return {
      kind: "transaction",
      compares: [],
      success: [...keys].map((at) => put(encodeText(`${prng.pick(["a", "b", "c"])}/${at}`))),
      failure: [],
    };
  }
  const behind = prng.chance(0.3) ? prng.below(5) : prng.between(10, 60);
  return { kind: "compact", revision: Math.max(compacted + 1, revision - behind) };
}

async function run(seed: number, coverage: Coverage): Promise<void> {
  const prng = new Prng(seed);
  const options = {
    watchQueueBytesMax: prng.pick([300, 2_000, 20_000]),
    watchesPerTurn: prng.pick([1, 2, 5, 4_096]),
    messageBytesMax: 64_000,
    compaction: { revisions: 0, historyBytes: 0 },
  };
  const cluster = new FakeCluster({ nodes: 2, options });
  const history = new History();
  history.follow(cluster.nodes[0]);
  const streams: ModelStream[] = [];
  const eager = new Set<ModelStream>();
  const revision = (): number => cluster.nodes[0].module.machine.revision;
  let restoring: { finish(): void } | undefined;
  let nextId = 1;
  const newWatch = (): ModelWatch => ({
    id: nextId++,
    ...intervalOf(prng),
    start: prng.chance(0.5) ? 0 : Math.max(1, revision() + 3 - prng.below(60)),
    previous: prng.chance(0.5),
    withoutPuts: prng.chance(0.1),
    withoutDeletes: prng.chance(0.1),
    fragment: prng.chance(0.6),
  });
  for (let step = 0; step < 400; step++) {
    switch (prng.below(10)) {
      case 0:
        if (streams.length < 5) {
          const stream = new ModelStream(prng.pick(cluster.nodes), history);
          streams.push(stream);
          if (prng.chance(0.5)) eager.add(stream);
        }
        break;
      case 1:
        if (streams.length > 0) {
          const stream = prng.pick(streams);
          const many = prng.chance(0.2) ? 30 : prng.between(1, 3);
          for (let count = 0; count < many; count++) stream.create(newWatch());
        }
        break;
      case 2:
        if (streams.length > 0) {
          const stream = prng.pick(streams);
          const ids = [...stream.watches.keys()];
          if (ids.length > 0 && prng.chance(0.3)) stream.cancel(prng.pick(ids));
          else stream.askProgress();
        }
        break;
      case 3: {
        const follower = cluster.nodes[1];
        if (restoring !== undefined) {
          restoring.finish();
          restoring = undefined;
          coverage.restored++;
        } else if (prng.chance(0.3) && cluster.nodes[0].applied > follower.applied) {
          restoring = follower.restoreFrom(cluster.nodes[0]);
        } else if (follower.paused) follower.resume();
        else if (prng.chance(0.5)) follower.paused = true;
        break;
      }
      case 4:
        await cluster.manual.advance(prng.below(5));
        break;
      default: {
        const many = prng.chance(0.1) ? 40 : prng.between(1, 4);
        for (let count = 0; count < many; count++) {
          const { compactRevision } = cluster.nodes[0].module.machine;
          cluster.append(encodeCommand(commandOf(prng, revision(), compactRevision)));
        }
        if (prng.chance(0.8)) await turns(1);
      }
    }
    for (const stream of streams) {
      if (eager.has(stream)) stream.take();
      else if (prng.chance(0.3)) stream.take();
      stream.verify();
    }
  }
  restoring?.finish();
  for (const node of cluster.nodes) node.resume();
  await finish(cluster, streams, seed);
  for (const { module } of cluster.nodes) coverage.slow += module.hub.counters.slowTotal;
  for (const stream of streams) {
    coverage.fragments += stream.fragments;
    coverage.compacted += stream.compacted;
    coverage.progress += stream.progress;
    stream.end();
  }
  await cluster.close();
  await cluster.manual.advance(100);
  for (const { module } of cluster.nodes) {
    assert.equal(module.hub.counters.watches, 0, "nothing is left of closed streams");
    assert.equal(module.hub.counters.streamsSlow, 0);
    assert.equal(module.hub.counters.streams, 0);
  }
}

/** Reads everything to its end. */
async function finish(
  cluster: FakeCluster,
  streams: readonly ModelStream[],
  seed: number,
): Promise<void> {
  for (let rounds = 0; rounds < 20_000; rounds++) {
    if (streams.every((stream) => stream.isDone)) return;
    for (const stream of streams) {
      stream.take();
      stream.verify();
    }
    if (rounds % 3 === 0) await cluster.manual.advance(1);
    else await turns(1);
  }
  const left = streams.filter((stream) => !stream.isDone).map((stream) => stream.describe());
  assert.fail(`seed ${seed}: not everything was told: ${left.join(", ")}`);
}

test("random changes, compactions, restores and readers: every event once, in order", async () => {
  const coverage: Coverage = {
    slow: 0,
    fragments: 0,
    compacted: 0,
    progress: 0,
    restored: 0,
  };
  for (let seed = 1; seed <= 40; seed++) {
    try {
      await run(seed, coverage);
    } catch (error) {
      throw new Error(`seed ${seed}: ${error}`, { cause: error });
    }
  }
  const never = Object.entries(coverage).filter(([, count]) => count === 0);
  assert.deepEqual(never, [], "never came up");
});
