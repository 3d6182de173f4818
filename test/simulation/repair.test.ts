/**
 * Most voters are lost for ever, and the one that is left is made the only one. The power goes at
 * every call of its disk meanwhile, one run for each: the repair that is tried again ends it, nothing
 * that the survivor had is lost, and those who were given up stay strangers.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Config } from "../../src/config/types.ts";
import { createLog } from "../../src/log.ts";
// Loaded now: an import takes real time, and a run has none.
import "../../src/node/replication.ts";
import { repairNode } from "../../src/node/repair.ts";
import { Node } from "../../src/node.ts";
import type { Disk, Runtime } from "../../src/runtime/port.ts";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "./ban.ts";
import { meshPort, nodeConfig } from "./node_config.ts";
import { DiskWatch } from "./raft/disk_watch.ts";

before(armBan);
after(liftBan);

const names = ["ash", "birch", "cedar"];
const values = 5;
/** With these the log has several segments and snapshots. */
const log = { segment_bytes: 4096, snapshot_log_bytes: 1500, catch_up_bytes: 600 };

/** Machines get their addresses in the order in which they are made. */
const addressOf = (name: string): string => `tcp://10.0.0.${names.indexOf(name) + 1}:${meshPort}`;

function configOf(runtime: Runtime, name: string): Config {
  const config = nodeConfig(runtime, { name, advertise: addressOf(name) }, {
    cluster: { join: names.filter((other) => other !== name).map(addressOf) },
    log: { level: "error" },
  });
  return {
    ...config,
    rpc: { ...config.rpc, drain_timeout: 200 },
    raft: { ...config.raft, ...log, low_water_bytes: 0 },
  };
}

/** Three nodes that were one cluster; the last two are switched off for ever. */
class Ruin {
  readonly simulation: Simulation;
  readonly #agents;
  /** What each node's program does at its next start. */
  readonly #modes = new Map<string, "run" | "repair" | "wait">();
  readonly nodes = new Map<string, Node>();
  /** Disk calls of the survivor's repairs, and at which of them the power goes. */
  calls = 0;
  #lossAt = Infinity;
  repairs = 0;
  failure: Error | undefined = undefined;

  constructor(seed: number, torn: boolean) {
    this.simulation = createSimulation({ seed, tornWriteChance: torn ? 0.8 : 0 });
    this.#agents = names.map((name) =>
      this.simulation.machine(name, { boot: (runtime) => this.#boot(name, runtime) })
    );
  }

  get survivor() {
    return this.#agents[0];
  }

  async #boot(name: string, runtime: Runtime): Promise<void> {
    const config = configOf(runtime, name);
    const mode = this.#modes.get(name) ?? "run";
    try {
      if (mode === "repair") {
        await repairNode({ ...runtime, disk: this.#count(runtime.disk) }, config);
        this.repairs++;
      } else if (mode === "run") {
        const silent = await createLog(runtime, { level: "error", node: name, format: "none" });
        const options = { runtime, config, dev: true, admin: false, log: silent };
        this.nodes.set(name, await Node.start(options));
      }
    } catch (error) {
      this.failure = error as Error;
    }
    await new Promise<void>(() => {});
  }

  #count(disk: Disk): Disk {
    const watch = new DiskWatch({ logDirectory: "/none", synced: () => {}, writing: () => {} });
    watch.wrote = () => {
      if (++this.calls !== this.#lossAt) return;
      this.simulation.at(this.simulation.nowMs, () => this.survivor.losePower());
    };
    return watch.watch(disk);
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const untilMs = this.simulation.nowMs + 30_000;
    while (!holds()) {
      assert.ok(this.simulation.nowMs < untilMs, `${what}: ${this.failure?.stack ?? "never"}`);
      await this.simulation.run({ forMs: 20 });
    }
  }

  async settle<T>(wanted: Promise<T>): Promise<T> {
    let done = false;
    const watched = wanted.finally(() => done = true);
    // It is awaited below.
    watched.catch(() => {});
    await this.until("an answer", () => done);
    return await watched;
  }

  /** Founds the cluster, fills its store, and loses all but the first node. */
  async fall(): Promise<void> {
    await this.until("three nodes", () => this.nodes.size === names.length);
    const { kv } = this.nodes.get("ash")!;
    for (let at = 1; at <= values; at++) {
      await this.settle(kv.put(`k${at}`, "x".repeat(400), { timeoutMs: 10_000 }));
    }
    // What the survivor has is all that is promised: it has everything.
    await this.settle(kv.get("k1", { timeoutMs: 10_000 }));
    for (const machine of this.#agents) machine.losePower();
    this.nodes.clear();
  }

  /** Repairs until it is done, however often the power goes. */
  async repair(lossAt: number): Promise<void> {
    this.#lossAt = lossAt;
    this.#modes.set("ash", "repair");
    while (this.repairs === 0) {
      if (!this.survivor.running) this.survivor.restart();
      await this.until("a repair", () => this.repairs > 0 || !this.survivor.running);
      assert.equal(this.failure, undefined);
    }
    this.survivor.losePower();
  }

  /** Starts a node again, as it is. */
  start(name: string): void {
    this.#modes.set(name, "run");
    this.#agents[names.indexOf(name)].restart();
  }

  /** Everything is there, and writes go on. */
  async judge(): Promise<void> {
    this.start("ash");
    await this.until("the survivor", () => this.nodes.has("ash"));
    const { kv } = this.nodes.get("ash")!;
    for (let at = 1; at <= values; at++) {
      const found = await this.settle(kv.get(`k${at}`, { timeoutMs: 10_000 }));
      assert.equal(found?.text?.length, 400, `k${at}`);
    }
    await this.settle(kv.put("after", "1", { timeoutMs: 10_000 }));
  }
}

async function ruin(seed: number, lossAt: number, torn: boolean): Promise<Ruin> {
  const made = new Ruin(seed, torn);
  await made.fall();
  await made.repair(lossAt);
  await made.judge();
  return made;
}

for (const torn of [false, true]) {
  test(`a repair ends well whenever the power goes${torn ? ", with torn writes" : ""}`, async () => {
    const whole = await ruin(1, Infinity, torn);
    assert.ok(whole.calls > 5, `${whole.calls} calls`);
    for (let call = 1; call <= whole.calls; call++) await ruin(1, call, torn);
  });
}

test("those who were given up and start all the same disturb nobody", async () => {
  const made = await ruin(2, Infinity, false);
  for (const name of ["birch", "cedar"]) made.start(name);
  await made.simulation.run({ forMs: 10_000 });
  const { kv } = made.nodes.get("ash")!;
  assert.equal((await made.settle(kv.get("after", { timeoutMs: 5000 })))?.text, "1");
  await made.settle(kv.put("later", "2", { timeoutMs: 5000 }));
});
