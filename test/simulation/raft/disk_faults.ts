/**
 * What happens to disks as the seed wants it: they stall, their syncs fail, they are full for a
 * while, they come back empty or with a bit turned over. The last two only where enough other disks
 * are whole: a promise to survive the loss of a minority is none to survive more.
 */
import type { Prng } from "../../../src/base/prng.ts";
import { dataDirectory } from "../node_config.ts";
import type { Agent } from "./agent.ts";
import type { RaftWorld } from "./world.ts";

export class DiskFaults {
  readonly #world: RaftWorld;
  readonly #random: Prng;
  #stopped = false;

  constructor(world: RaftWorld) {
    this.#world = world;
    this.#random = world.simulation.random("disk faults");
  }

  begin(fromMs: number): void {
    const { disk } = this.#world.plan;
    this.#plan(fromMs, disk.stallEveryMs, () => this.#stall());
    this.#plan(fromMs, disk.failSyncEveryMs, () => this.#failSync());
    this.#plan(fromMs, disk.fullEveryMs, () => this.#fill());
    this.#plan(fromMs, disk.lossEveryMs, () => this.#lose());
  }

  /** No fault begins any more; the fleet heals those that are there. */
  stop(): void {
    this.#stopped = true;
  }

  #plan(fromMs: number, everyMs: number | undefined, strike: () => void): void {
    if (everyMs === undefined) return;
    const { simulation } = this.#world;
    simulation.at(fromMs + everyMs * (0.5 + this.#random.fraction()), () => {
      if (this.#stopped) return;
      strike();
      this.#plan(simulation.nowMs, everyMs, strike);
    });
  }

  #pick(): Agent | undefined {
    const able = this.#world.fleet.all.filter((agent) => agent.running && !agent.taken);
    return able.length === 0 ? undefined : this.#random.pick(able);
  }

  #stall(): void {
    const agent = this.#pick();
    if (agent === undefined) return;
    const { simulation, plan } = this.#world;
    const [least, most] = plan.disk.stallMs;
    const lastsMs = this.#random.between(least, most);
    agent.machine.disk.slowSync([lastsMs, lastsMs]);
    simulation.at(simulation.nowMs + lastsMs, () => {
      // Another fault of the same disk may have begun; it ends with this one.
      if (!this.#stopped) agent.machine.disk.heal();
    });
  }

  /** The process must end by itself; the supervisor starts another one. */
  #failSync(): void {
    const agent = this.#pick();
    if (agent === undefined) return;
    // An idle disk may not be asked for long.
    agent.excuse("a sync fails", Infinity);
    agent.machine.disk.failSync({ path: dataDirectory });
  }

  #fill(): void {
    const agent = this.#pick();
    if (agent === undefined) return;
    const { disk } = agent.machine;
    const { simulation, plan } = this.#world;
    agent.excuse("the disk is full");
    disk.quotaBytes = disk.usedBytes() + this.#random.pick([0, 3000, 60_000, 200_000]);
    simulation.at(simulation.nowMs + this.#random.between(500, 8000), () => {
      disk.quotaBytes = plan.diskBytes;
    });
  }

  /** The machine loses its disk, or a bit of it, while it is off. */
  #lose(): void {
    const agent = this.#pick();
    const { fleet } = this.#world;
    if (agent === undefined || !fleet.canSpare(agent)) return;
    if (this.#random.chance(0.5)) fleet.replaceDisk(agent);
    else fleet.damageDisk(agent);
  }
}
