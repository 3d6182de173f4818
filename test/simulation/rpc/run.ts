/**
 * One seed from its first event to its last: rough times under the nemesis, then quiet, in which
 * everything must be reachable again, every call must end, and nothing may be left over.
 */
import { Code, codeName, CoveyError } from "../../../src/base/error.ts";
import type { SimMachine } from "../../../src/runtime/sim/machine.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import { TestService } from "../../gen/covey/test/v1/test_pb.ts";
import {
  checkEffort,
  listenToSilence,
  type Observed,
  runSeed,
  type SeedParts,
  until,
} from "../seeds/run.ts";
import type { SeedRun } from "../seeds/subject.ts";
import { sleep } from "../sleep.ts";
import { Agent, type World } from "./agent.ts";
import { describe, Ledger } from "./ledger.ts";
import { isHalfOpen } from "./observer.ts";
import { runMalformed } from "./malformed.ts";
import { chaosUntilMs, drawPlan, type RunPlan, workUntilMs } from "./plan.ts";
import { operationKey, rawOperation } from "./service.ts";

/** From the last operation until every one of them has ended. */
const operationsEndMs = 30_000;
/** Beyond keepalive, dialling and back-off. */
const reachSlackMs = 3000;
/** From the close of the last channel until nothing is open. */
const tidyMs = 3000;
const settleMs = 1000;

/** Runs a seed; rejects with the first broken invariant. */
export function runRpcSeed(seed: number, log?: (line: string) => void): Promise<SeedRun> {
  return runSeed({ name: "rpc", seed, log, drawPlan }, runPlan);
}

async function runPlan({ simulation, verdict, plan }: SeedParts<RunPlan>): Promise<SeedRun> {
  const ledger = new Ledger(verdict);
  const agents = new Map<string, Agent>();
  const machines: SimMachine[] = [];
  const observed: Observed = { simulation, verdict, describe: () => describeOpen(ledger) };
  const world: World = {
    simulation,
    ledger,
    plan,
    nodeIds: new Map(),
    malformedHost: `10.0.0.${plan.names.length + 1}`,
    rests: false,
    calm: false,
  };
  for (const name of plan.names) {
    const machine: SimMachine = simulation.machine(name, {
      boot: async () => {
        const before = agents.get(name);
        if (before !== undefined) ledger.forget(before.process);
        const agent = new Agent(world, machine);
        agents.set(name, agent);
        await agent.run();
      },
    });
    machines.push(machine);
  }
  simulation.machine("malformed", {
    immune: true,
    boot: (runtime) => runMalformed(world, runtime),
  });

  await simulation.run({ untilMs: chaosUntilMs });
  simulation.calmDown();
  world.calm = true;
  simulation.machine("malformed").kill();
  for (const machine of machines) {
    machine.resume();
    machine.unstick();
    if (!machine.running) machine.restart();
  }
  // Every agent must have been made, and its node be up, before somebody asks for it.
  await until(
    observed,
    "every node starts again",
    12_000,
    () =>
      plan.names.every((name) => agents.get(name)?.alive && agents.get(name)?.node !== undefined),
  );
  const live = [...agents.values()];
  const reached = Promise.all(live.map((agent) => reachAll(world, agent)));
  await simulation.run({ untilMs: Math.max(workUntilMs, simulation.nowMs) });
  await simulation.wait(reached, { forMs: 60_000 });
  world.rests = true;
  await until(
    observed,
    "every call ends",
    operationsEndMs,
    () => [...ledger.running].every((operation) => operation.process.dead),
  );
  // Channels that were made for one call are closed a moment after it.
  await simulation.run({ forMs: 100 });
  await tidyUp(world, live);
  const { hash } = simulation;
  const operations = ledger.operations.length;
  return { simulation, operations, faults: checkEffort(observed, operations), hash };
}

/** The first few calls that somebody still waits for. */
function describeOpen({ running }: Ledger): string {
  const open = [...running].filter((one) => !one.process.dead).slice(0, 3);
  return open.map(describe).join("\n") || "see the trace";
}

/** Every other node answers within the time that detection, dialling and back-off may take. */
async function reachAll(world: World, agent: Agent): Promise<void> {
  const { plan, ledger } = world;
  const rpc = plan.rpc.get(agent.name)!;
  const detectMs = (rpc.keepalive_interval as number) + (rpc.keepalive_timeout as number) + 2000;
  // Without keepalive TCP itself has to notice, and a silent call costs its timeout.
  const boundMs = detectMs + (plan.faults.stallResetMs ?? 0) + 2 * plan.dialTimeoutMs +
    2 * plan.backoffMostMs + reachSlackMs;
  const { clock } = agent.runtime;
  const startedMs = clock.monotonicMs();
  const reach = async (target: string, covey: boolean): Promise<void> => {
    const options = { timeoutMs: 1000, metadata: { [operationKey]: rawOperation } };
    let last: unknown;
    while (clock.monotonicMs() - startedMs < boundMs) {
      try {
        await createClient(TestService, agent.channel(target, covey)).nothing({}, options);
        return;
      } catch (error) {
        last = error;
        // A plain server never learns which of its calls were given up: such a connection may stay
        // full for as long as it lives, and another one is the remedy.
        const isFull = error instanceof CoveyError && error.code === Code.resourceExhausted;
        if (!covey && isFull) agent.replaceChannel(target, covey);
      }
      await sleep(agent.runtime, 100);
    }
    const why = last instanceof CoveyError ? `${codeName(last.code)} ${last.rawMessage}` : last;
    ledger.verdict.violate(
      "after quiet every node reaches every other",
      `${agent.name}→${target} ${covey ? "covey" : "any"} after ${boundMs} ms: ${why}`,
    );
  };
  const targets = plan.names.filter((name) => name !== agent.name);
  await Promise.all(targets.flatMap((target) => [reach(target, true), reach(target, false)]));
}

/** Closes all channels, looks for what is left, stops all nodes, and listens to the silence. */
async function tidyUp(world: World, agents: readonly Agent[]): Promise<void> {
  const { simulation, ledger } = world;
  const { verdict } = ledger;
  for (const agent of agents) {
    for (const channel of agent.channels.values()) channel.close();
    verdict.check(
      agent.node!.rpc.channelCount === 0,
      "closed channels are forgotten",
      () => `${agent.name} remembers ${agent.node!.rpc.channelCount}`,
    );
  }
  await simulation.run({ forMs: tidyMs });
  for (const agent of agents) {
    const left: string[] = [];
    const halfOpen = [...agent.observer.open].filter(isHalfOpen);
    const halfOpenCalls = halfOpen.reduce((sum, one) => sum + one.link.machine.callCount, 0);
    for (const watched of agent.observer.open) {
      if (!halfOpen.includes(watched)) left.push(`${watched.name} ${watched.link.isOpen}`);
    }
    const { connections, calls } = agent.node!.status().modules.rpc;
    if (connections !== halfOpen.length || calls !== halfOpenCalls) {
      left.push(`status: ${connections} and ${calls} calls`);
    }
    for (const counters of agent.observer.counters) {
      const ended = counters.callsByCode.reduce((sum, count) => sum + count, 0);
      const { callsOpen, connectionsOpen, callsTotal } = counters;
      if (callsOpen > halfOpenCalls || connectionsOpen > halfOpen.length) {
        left.push(`${callsOpen} calls, ${connectionsOpen} connections counted`);
      }
      if (callsTotal !== ended + callsOpen) left.push(`${callsTotal} calls began, ${ended} ended`);
    }
    verdict.check(
      left.length === 0,
      "nothing is left after the last channel closed",
      () => `${agent.name}: ${left.join("; ")}`,
    );
  }
  for (const execution of ledger.executions) {
    if (execution.process.dead || execution.operation.process.dead) continue;
    verdict.check(
      execution.signal.aborted,
      "no handler is left",
      () => describe(execution.operation),
    );
  }
  await simulation.wait(Promise.all(agents.map((agent) => agent.stop())), { forMs: 20_000 });
  for (const agent of agents) agent.rest();
  await listenToSilence({ simulation, verdict }, settleMs);
}
