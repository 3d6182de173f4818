/**
 * The power goes at one chosen call of one machine's disk, and comes back; then the rest of a small
 * workload runs. Or the process alone is killed there, and the power goes a while later, when what
 * the first process left has been relied on. Repeated for every call there is, no moment is left out.
 */
import { KV } from "../../../src/gen/covey/kv/v1/kv_pb.ts";
import { createSimulation } from "../../../src/runtime/sim/simulation.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import type { KvInput } from "../linearizability/kv_model.ts";
import { until } from "../seeds/run.ts";
import { sleep } from "../sleep.ts";
import { type ClientParts, type Connections, startClientMachine } from "./client_machine.ts";
import { inspect } from "./inspector.ts";
import { failureOf, request } from "./kv_rpc.ts";
import { judge } from "./run.ts";
import { smallWorld, testCommand } from "./small.ts";
import type { RaftWorld } from "./world.ts";

const puts = 14;
const keys = 3;
/** With these the log goes through several segments and snapshots meanwhile. */
const valueBytes = 400;
const bytes = { segment_bytes: 4096, snapshot_log_bytes: 1500, catch_up_bytes: 600 };
const downMs = 300;
const endMs = 60_000;

export interface PowerLossOptions {
  readonly nodes: 1 | 3;
  /** The power goes when the first machine calls its disk for the so-and-so-manieth time. */
  readonly call: number;
  /** Of what was not synced, parts may be on the disk. */
  readonly torn: boolean;
  /** The process is killed there, and the power goes after two writes more. */
  readonly killed?: boolean;
}

export interface PowerLossRun {
  /** Calls of the first machine's disk that changed something, in all. */
  readonly calls: number;
  readonly lost: boolean;
}

/** Rejects with the first broken promise. */
export async function runPowerLoss(options: PowerLossOptions): Promise<PowerLossRun> {
  const { nodes, call, torn, killed = false } = options;
  const simulation = createSimulation({
    seed: call === Infinity ? 0 : call,
    tornWriteChance: torn ? 0.8 : 0,
  });
  const world = smallWorld({
    simulation,
    replay: testCommand,
    founders: ["ash", "birch", "cedar"].slice(0, nodes),
    raft: { heartbeat_interval: 50, election_timeout: 250, ...bytes, low_water_bytes: 0 },
    work: { valueBytes: [valueBytes, valueBytes] },
  });
  const leave = inspect(world);
  try {
    let lost = false;
    const [first] = world.plan.founders.map((name) => world.fleet.start(name));
    first.disk.wrote = (count) => {
      if (lost || count !== call) return;
      lost = true;
      simulation.at(simulation.nowMs, () => {
        if (killed) first.machine.kill();
        else first.machine.losePower();
        simulation.at(simulation.nowMs + downMs, () => first.machine.restart());
      });
    };
    let acknowledged = 0;
    const written = (): void => {
      if (!killed || !lost || ++acknowledged !== 2) return;
      first.machine.losePower();
      simulation.at(simulation.nowMs + downMs, () => first.machine.restart());
    };
    let done = false;
    startClientMachine(world, async (parts) => {
      await work(parts, written);
      done = true;
    });
    await until(world, "the workload ends", endMs, () => done);
    await until(world, "all nodes become equal", endMs, () => world.converged());
    judge(world);
    world.verdict.confirm();
    return { calls: first.disk.writes, lost };
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new Error(
      `${nodes} nodes, ${killed ? "killed" : "power lost"} at call ${call} of the disk` +
        `${torn ? ", torn" : ""}: ${what}`,
      { cause: error },
    );
  } finally {
    leave();
  }
}

/** Puts one value after the other until each is acknowledged, and reads everything. */
async function work({ world, runtime, connections }: ClientParts, written: () => void) {
  for (let at = 1; at <= puts + keys; at++) {
    const key = `k${at % keys}`;
    for (let tries = 0;; tries++) {
      const input: KvInput = {
        compares: [],
        success: [
          at <= puts
            ? { kind: "put", key, value: `v${at * 1000 + tries}`, previous: true }
            : { kind: "get", key },
        ],
        failure: [],
      };
      if (await ask(world, connections, { input, node: tries })) break;
      await sleep(runtime, 50);
    }
    if (at <= puts) written();
  }
}

async function ask(
  world: RaftWorld,
  connections: Connections,
  { input, node }: { input: KvInput; node: number },
): Promise<boolean> {
  const { history, fleet } = world;
  const recorded = history.begin("client", input);
  const agents = fleet.all;
  const client = createClient(KV, connections.channel(agents[node % agents.length]));
  const padded = (value: string): string => `${value}:`.padEnd(valueBytes, ".");
  try {
    history.answered(recorded, await request(client, input, { padded }, { timeoutMs: 1000 }));
    return true;
  } catch (thrown) {
    const { certain, error } = failureOf(thrown);
    if (certain) history.refused(recorded, error.message);
    else history.unknown(recorded);
    return false;
  }
}
