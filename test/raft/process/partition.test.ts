/**
 * Nodes that do not hear each other, both ways and one way, in network namespaces: nothing arrives
 * and nothing says so. A minority serves nothing that has to be agreed on, and hangs nobody.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code } from "../../../src/base/error.ts";
import type { ClusterNode } from "../../support/cluster.ts";
import { type NamespaceNetwork, netnsMissing } from "../../support/netns.ts";
import type { Lab } from "./lab.ts";
import type { Load } from "./load.ts";
import { withNetworkLab } from "./network_lab.ts";
import { type Outcome, Recorder } from "./recorder.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";

const skip = netnsMissing() ?? false;
const writesAround = 150;
/** Of the calls of the load: nobody waits longer for a node that is cut off. */
const loadMs = 2_000;
/** Of calls to a node that cannot answer, and what a busy machine may add. */
const deadlineMs = 1_200;
const slackMs = 2_000;

const answers: ReadonlySet<number> = new Set([
  Code.unavailable,
  Code.deadlineExceeded,
  Code.aborted,
]);

/** Asks a node that is alone: each call ends by its deadline, without an answer. */
async function assertServesNothing(lab: Lab, node: ClusterNode, name: string): Promise<void> {
  const alone = lab.client({ nodes: [node], sessions: false, timeoutMs: deadlineMs });
  const recorder = new Recorder(name, alone, lab.history);
  const begunMs = performance.now();
  const outcomes = await Promise.all([
    recorder.get("t0/0", deadlineMs),
    recorder.get("t0/1", deadlineMs),
    recorder.put(`${name}/lost`, `${name} a`, deadlineMs),
    recorder.put("t0/0", `${name} b`, deadlineMs),
    recorder.run({
      compares: [{ key: "t0/1", target: "version", equals: 1 }],
      success: [{ kind: "put", key: "t0/1", value: `${name} c`, previous: false }],
      failure: [{ kind: "get", key: "t0/1" }],
    }, deadlineMs),
  ]);
  const tookMs = performance.now() - begunMs;
  outcomes.forEach((outcome: Outcome) => {
    assert.notEqual(outcome.kind, "answered", `${name} answered ${JSON.stringify(outcome)}`);
    if (outcome.kind !== "answered") {
      assert.ok(answers.has(outcome.error.code), outcome.error.message);
    }
  });
  assert.ok(tookMs < deadlineMs + slackMs, `${name} took ${tookMs} ms`);
  // What it has, it still tells whoever asks for no more.
  await alone.range("t0/0", { serializable: true });
}

interface Cut {
  readonly name: string;
  cut(
    network: NamespaceNetwork,
    leader: ClusterNode,
    others: readonly ClusterNode[],
  ): Promise<void>;
  /** The leader cannot stay. */
  readonly deposes: boolean;
  /** A follower hears nobody. */
  readonly isolates?: boolean;
}

const cuts: readonly Cut[] = [
  {
    name: "the leader alone",
    cut: (network, leader, others) =>
      network.part([leader.index], others.map(({ index }) => index)),
    deposes: true,
  },
  {
    name: "nothing from the leader arrives",
    cut: async (network, leader, others) => {
      for (const { index } of others) await network.cut(leader.index, index);
    },
    deposes: true,
  },
  {
    name: "nothing arrives at the leader",
    cut: async (network, leader, others) => {
      for (const { index } of others) await network.cut(index, leader.index);
    },
    deposes: true,
  },
  {
    name: "a follower alone",
    cut: (network, leader, [first, second]) =>
      network.part([first.index], [leader.index, second.index]),
    deposes: false,
    isolates: true,
  },
  {
    name: "one follower does not hear the leader",
    cut: (network, leader, [first]) => network.cut(leader.index, first.index),
    deposes: false,
  },
  {
    name: "the leader does not hear one follower",
    cut: (network, leader, [first]) => network.cut(first.index, leader.index),
    deposes: false,
  },
];

async function cutAndHeal(
  lab: Lab,
  network: NamespaceNetwork,
  load: Load,
  { name, cut, deposes, isolates }: Cut,
  at: number,
): Promise<void> {
  const leader = await lab.leader();
  const others = await lab.followers();
  const termBefore = await lab.term();
  const groups = await Promise.all(lab.nodes.map((node) => lab.group(node)));
  const timeoutsMs = groups.map(({ electionTimeoutMillis }) => electionTimeoutMillis).join(", ");
  const sinceMs = performance.now();
  await cut(network, leader, others);
  const recoveredMs = await load.recovered(sinceMs);
  await load.acknowledged(writesAround);
  if (deposes) {
    const successor = await lab.leader(others);
    assert.notEqual(successor, leader);
    await assertServesNothing(lab, leader, `cut ${at}`);
  }
  if (isolates) await assertServesNothing(lab, others[0], `cut ${at}`);
  const gapMs = load.longestGapMs(sinceMs);
  const healedMs = performance.now();
  await network.heal();
  await load.acknowledged(writesAround);
  for (const node of lab.nodes) await lab.caughtUp(node);
  const convergedMs = Math.round(performance.now() - healedMs);
  const elections = await lab.electionsSince(termBefore);
  report(
    `${name}: writes again after ${recoveredMs} ms, longest gap ${gapMs} ms, all caught up ` +
      `${convergedMs} ms after it healed, ${elections} elections; election timeouts ${timeoutsMs} ms`,
  );
}

test(
  "processes: partitions, both ways and one way, lose nothing and hang nobody",
  { skip },
  () =>
    withNetworkLab({}, async (lab, network) => {
      await lab.start();
      const load = lab.load({ clients: lab.clients(9), seed: 7, timeoutMs: loadMs });
      await load.acknowledged(writesAround);
      for (const [at, one] of cuts.entries()) await cutAndHeal(lab, network, load, one, at);
      await load.acknowledged(writesAround);
      await load.stop();
      await verify(lab);
      report(load.describe());
    }),
);

test(
  "processes: without any majority nothing is written, and all comes back",
  { skip },
  () =>
    withNetworkLab({}, async (lab, network) => {
      await lab.start();
      const load = lab.load({ clients: lab.clients(6), seed: 8, timeoutMs: loadMs });
      await load.acknowledged(writesAround);
      await load.stop();
      await network.part([0], [1, 2]);
      await network.part([1], [2]);
      // Whoever leads needs an election timeout to notice; until then it answers nobody either.
      await Promise.all(
        lab.nodes.map((node) => assertServesNothing(lab, node, `alone ${node.index}`)),
      );
      const healedMs = performance.now();
      await network.heal();
      const again = lab.load({
        clients: lab.clients(6),
        seed: 9,
        timeoutMs: loadMs,
        name: "again ",
      });
      const recoveredMs = await again.recovered(healedMs);
      await again.acknowledged(writesAround);
      await again.stop();
      await verify(lab);
      report(
        `everybody alone: writes again ${recoveredMs} ms after it healed; ${again.describe()}`,
      );
    }),
);
