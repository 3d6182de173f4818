/**
 * Faults that look for the leader, because most of what can go wrong with consensus begins there: it
 * is cut off while clients still reach it, it stands still, it dies in the moment after another one
 * came back.
 */
import type { Prng } from "../../../src/base/prng.ts";
import type { Agent } from "./agent.ts";
import type { RaftWorld } from "./world.ts";

export class LeaderFaults {
  readonly #world: RaftWorld;
  readonly #random: Prng;

  constructor(world: RaftWorld) {
    this.#world = world;
    this.#random = world.simulation.random("leader faults");
  }

  begin(fromMs: number): void {
    const everyMs = this.#world.plan.leaderFaultEveryMs;
    if (everyMs === undefined) return;
    const { simulation } = this.#world;
    simulation.at(fromMs + everyMs * (0.5 + this.#random.fraction()), () => {
      if (this.#world.calm) return;
      this.#strike();
      this.begin(simulation.nowMs);
    });
  }

  /** One last time when everything else is over: what stays behind then shows. */
  hiccup(): void {
    const leader = this.#leader();
    if (leader !== undefined) this.#falter(leader);
  }

  /** Who leads, or the newest of several that believe it. */
  #leader(): Agent | undefined {
    const leaders = this.#world.fleet.all.filter((agent) =>
      agent.running && !agent.taken && agent.replica?.parts.group.leads === true
    );
    return leaders.sort((a, b) => b.replica!.seen.term - a.replica!.seen.term)[0];
  }

  #strike(): void {
    const leader = this.#leader();
    if (leader === undefined) return;
    const { machine } = leader;
    const random = this.#random;
    switch (random.below(9)) {
      case 0:
        return this.#down(leader, () => machine.kill());
      case 1:
        return this.#down(leader, () => machine.losePower());
      case 2:
        machine.pause();
        return this.#later(random.between(100, 4000), () => machine.resume());
      case 3: {
        // It hears everybody, and nobody hears it, or the other way round.
        const others = this.#others(leader).map((agent) => agent.machine);
        const cut = random.chance(0.5)
          ? this.#world.simulation.cut(machine, others)
          : this.#world.simulation.cut(others, machine);
        return this.#later(random.between(300, 5000), () => cut.heal());
      }
      case 4:
        return this.#falter(leader);
      case 5:
        if (random.chance(0.5)) return this.#isolate(leader);
        // Its clock says that another time has come, in the middle of whatever it does.
        machine.jumpWallClock(random.between(-60_000, 60_000));
        return;
      default:
        return this.#isolate(leader);
    }
  }

  /**
   * The leader is silent for about as long as the others wait for it, and is back before the disks
   * of those who campaign have their new term: somebody may be ahead of a leader that goes on.
   */
  #falter(leader: Agent): void {
    const { simulation, plan } = this.#world;
    const random = this.#random;
    const electionMs = plan.raft.election_timeout ?? 500;
    const others = this.#others(leader);
    const cut = simulation.partition(leader.machine, others.map(({ machine }) => machine));
    this.#later(electionMs * (0.8 + random.fraction()), () => cut.heal());
    const slow = others.filter((agent) => agent.running && !agent.taken);
    for (const { machine } of slow) machine.disk.slowSync([electionMs / 4, electionMs]);
    this.#later(3 * electionMs, () => {
      for (const { machine } of slow) machine.disk.heal();
    });
  }

  /**
   * The leader is alone, or with a minority, and goes on taking writes that nobody will commit. When
   * it comes back, whoever leads by then may die at once.
   */
  #isolate(leader: Agent): void {
    const { simulation } = this.#world;
    const random = this.#random;
    const others = this.#others(leader);
    if (others.length === 0) return;
    const company = others.length > 2 && random.chance(0.4) ? [others[0]] : [];
    const away = others.filter((agent) => !company.includes(agent));
    const cut = simulation.partition(
      [leader, ...company].map(({ machine }) => machine),
      away.map(({ machine }) => machine),
    );
    this.#later(random.between(500, 5000), () => {
      cut.heal();
      if (random.chance(0.4)) return;
      this.#later(random.between(0, 400), () => {
        const next = this.#leader();
        if (next === undefined || this.#world.calm) return;
        if (random.chance(0.5)) this.#down(next, () => next.machine.losePower());
        else {
          next.machine.pause();
          this.#later(random.between(300, 4000), () => next.machine.resume());
        }
      });
    });
  }

  #others(leader: Agent): Agent[] {
    const others = this.#world.fleet.all.filter((agent) => agent !== leader);
    for (let at = others.length - 1; at > 0; at--) {
      const other = this.#random.below(at + 1);
      [others[at], others[other]] = [others[other], others[at]];
    }
    return others;
  }

  #down(agent: Agent, how: () => void): void {
    agent.taken = true;
    how();
    this.#later(this.#random.between(50, 4000), () => {
      agent.taken = false;
      if (!agent.machine.running) agent.machine.restart();
    });
  }

  #later(ms: number, callback: () => void): void {
    const { simulation } = this.#world;
    simulation.at(simulation.nowMs + ms, callback);
  }
}
