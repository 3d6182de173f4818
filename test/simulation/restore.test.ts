/**
 * A saved store is put into a data directory, and the restore is cut short at every call of its
 * disk, one run for each: by a power loss, or because the disk is full from then on. A node on what is
 * left is refused, unless it has the whole store or nothing was begun; the restore that is run again
 * ends well.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { concatBytes } from "../../src/base/bytes.ts";
import { Code, CoveyError } from "../../src/base/error.ts";
import type { Config } from "../../src/config/types.ts";
import { createLog } from "../../src/log.ts";
// Loaded now: an import takes real time, and a run has none.
import "../../src/node/replication.ts";
import { restoreNode } from "../../src/node/restore.ts";
import { Node } from "../../src/node.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import type { SimMachine } from "../../src/runtime/sim/machine.ts";
import { createSimulation, type Simulation } from "../../src/runtime/sim/simulation.ts";
import { armBan, liftBan } from "./ban.ts";
import { dataDirectory, nodeConfig } from "./node_config.ts";
import { DiskWatch } from "./raft/disk_watch.ts";

before(armBan);
after(liftBan);

const keys = 40;
const value = "x".repeat(400);
const diskBytes = 1 << 30;

type Cut = "power" | "torn" | "full";

function configOf(runtime: Runtime): Config {
  const config = nodeConfig(runtime, { name: "ash" }, { log: { level: "error" } });
  return {
    ...config,
    rpc: { ...config.rpc, drain_timeout: 200 },
    // With these the log has several segments.
    raft: { ...config.raft, segment_bytes: 4096, low_water_bytes: 0 },
  };
}

async function startNode(runtime: Runtime): Promise<Node> {
  const log = await createLog(runtime, { level: "error", node: "ash", format: "none" });
  return await Node.start({ runtime, config: configOf(runtime), dev: true, admin: false, log });
}

async function* piecesOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 5000) yield bytes.subarray(at, at + 5000);
}

async function savedStore(): Promise<Uint8Array> {
  const simulation = createSimulation({ seed: 1 });
  const { runtime } = simulation.machine("ash");
  const node = await simulation.wait(startNode(runtime));
  const pieces: Uint8Array[] = [];
  await simulation.wait((async () => {
    for (let at = 0; at < keys; at++) await node.kv.put(`k${at}`, value);
    for await (const piece of node.kv.snapshot()) pieces.push(piece);
    await node.stop();
  })());
  return concatBytes(pieces);
}

/** What a node made of a folder that the restore has left. */
type Found = "whole" | "refused" | "nothing";

class Restore {
  readonly simulation: Simulation;
  readonly machine: SimMachine;
  readonly #bytes: Uint8Array;
  /** Disk calls that change something. */
  calls = 0;

  constructor(bytes: Uint8Array, torn: boolean) {
    this.#bytes = bytes;
    this.simulation = createSimulation({ seed: 1, tornWriteChance: torn ? 0.8 : 0 });
    this.machine = this.simulation.machine("ash", { diskBytes });
  }

  /** Runs until it is done, or is cut short at this call; says whether it was done. */
  async run(cutAt = Infinity, cut: Cut = "power"): Promise<boolean> {
    const { machine, simulation } = this;
    const watch = new DiskWatch({ logDirectory: "/none", synced: () => {}, writing: () => {} });
    let isCut = false;
    watch.wrote = (count) => {
      this.calls = count;
      if (count !== cutAt) return;
      isCut = true;
      if (cut === "full") machine.disk.quotaBytes = machine.disk.usedBytes();
      else simulation.at(simulation.nowMs, () => machine.losePower());
    };
    const { runtime } = machine;
    const watched = { ...runtime, disk: watch.watch(runtime.disk) };
    const outcome: { isDone: boolean; failure?: unknown } = { isDone: false };
    void restoreNode(watched, configOf(runtime), piecesOf(this.#bytes)).then(
      () => outcome.isDone = true,
      (error: unknown) => outcome.failure = error,
    );
    for (let looks = 0; machine.running; looks++) {
      if (outcome.isDone || outcome.failure !== undefined) break;
      assert.ok(looks < 10_000, "it never ends");
      await simulation.run({ forMs: 2 });
    }
    const { isDone, failure } = outcome;
    if (failure !== undefined) {
      assert.ok(isCut && cut === "full" && failure instanceof CoveyError, String(failure));
      assert.equal(failure.code, Code.resourceExhausted, failure.message);
    }
    return isDone;
  }

  /** The machine is started anew, with room. */
  boot(): void {
    if (this.machine.running) this.machine.losePower();
    this.machine.disk.quotaBytes = diskBytes;
    this.machine.restart();
  }

  async look(): Promise<Found> {
    const { simulation, machine } = this;
    // What holds no identity was not begun: a node would make a folder of its own of it.
    if (!machine.disk.paths().includes(`${dataDirectory}/node.json`)) return "nothing";
    let node: Node;
    try {
      node = await simulation.wait(startNode(machine.runtime));
    } catch (error) {
      assert.ok(error instanceof CoveyError, String(error));
      assert.equal(error.code, Code.failedPrecondition);
      assert.match(error.message, /the restore into \S+ was not finished: run "covey kv snapshot /);
      return "refused";
    }
    for (let at = 0; at < keys; at++) {
      assert.equal((await simulation.wait(node.kv.get(`k${at}`)))?.text, value, `k${at}`);
    }
    await simulation.wait(node.kv.put("after", "1"));
    await simulation.wait(node.stop());
    return "whole";
  }
}

for (const cut of ["power", "torn", "full"] as const) {
  test(`a restore that is cut short leaves no part of a store: ${cut}`, async () => {
    const bytes = await savedStore();
    const undisturbed = new Restore(bytes, cut === "torn");
    assert.ok(await undisturbed.run());
    const seen = new Set<Found>();
    for (let call = 1; call <= undisturbed.calls; call++) {
      const restore = new Restore(bytes, cut === "torn");
      const isDone = await restore.run(call, cut);
      restore.boot();
      const found = await restore.look();
      seen.add(found);
      if (isDone) assert.equal(found, "whole", `done, and cut at call ${call}`);
      if (found === "whole") continue;
      restore.boot();
      assert.ok(await restore.run(), `again after call ${call}`);
      restore.boot();
      assert.equal(await restore.look(), "whole", `again after call ${call}`);
    }
    assert.ok(seen.has("refused") && seen.has("nothing"), [...seen].join());
  });
}
