/** Faults of whole machines and links that come and go by themselves, as the seed wants it. */
import type { Prng } from "../../base/prng.ts";
import type { NemesisOptions, Range } from "./faults.ts";
import type { SimMachine } from "./machine.ts";
import type { Fault } from "./network.ts";
import { ticksFromMs } from "./time.ts";
import { drawTicks, generatorFor, type World } from "./world.ts";

const lastsMsDefault: Range = [200, 10_000];
const slowLinkDefault: Range = [1024, 64 * 1024];
const clockJumpMsDefault = 3_600_000;

/** One kind of fault with its own clock and its own randomness. */
interface Plan {
  readonly everyMs: number;
  readonly random: Prng;
  /** Begins one; undefined when it has no end or could not begin. */
  readonly begin: (random: Prng) => Fault | undefined;
}

export class Nemesis {
  readonly #world: World;
  readonly #options: NemesisOptions;
  readonly #active = new Set<Fault>();
  /** Machines that are down, paused or stuck at present. */
  readonly #taken = new Set<SimMachine>();
  #stopped = false;

  constructor(world: World, options: NemesisOptions) {
    this.#world = world;
    this.#options = options;
    const { kernel } = world;
    const from = ticksFromMs(options.fromMs ?? 0);
    this.#plan("partition", options.partitionEveryMs, (random) => this.#partition(random));
    this.#plan("one-way cut", options.oneWayCutEveryMs, (random) => this.#oneWayCut(random));
    this.#plan("reset", options.connectionResetEveryMs, (random) => this.#reset(random));
    this.#plan("slow link", options.slowLinkEveryMs, (random) => this.#slowLink(random));
    this.#plan(
      "stuck",
      options.stuckPeerEveryMs,
      (random) =>
        this.#machine(random, (machine) => machine.stick(), (machine) => machine.unstick()),
    );
    this.#plan(
      "pause",
      options.pauseEveryMs,
      (random) =>
        this.#machine(random, (machine) => machine.pause(), (machine) => machine.resume()),
    );
    this.#plan(
      "kill",
      options.killEveryMs,
      (random) => this.#machine(random, (machine) => machine.kill(), restart),
    );
    this.#plan(
      "crash",
      options.crashEveryMs,
      (random) => this.#machine(random, (machine) => machine.crash(), restart),
    );
    this.#plan(
      "power loss",
      options.powerLossEveryMs,
      (random) => this.#machine(random, (machine) => machine.losePower(), restart),
    );
    this.#plan("clock jump", options.clockJumpEveryMs, (random) => this.#clockJump(random));
    if (options.untilMs !== undefined) {
      kernel.at(Math.max(from, ticksFromMs(options.untilMs)), endNemesis, this as Nemesis, null);
    }
  }

  /** Ends all faults and begins no more. */
  stop(): void {
    this.#stopped = true;
    for (const fault of [...this.#active]) fault.heal();
  }

  /** Called by the event of a plan's next fault. */
  strike(plan: Plan): boolean {
    if (this.#stopped) return false;
    const fault = plan.begin(plan.random);
    if (fault !== undefined) {
      const lasting: Fault = {
        heal: () => {
          if (this.#active.delete(lasting)) fault.heal();
        },
      };
      this.#active.add(lasting);
      const lasts = drawTicks(plan.random, this.#options.lastsMs ?? lastsMsDefault);
      this.#world.kernel.at(this.#world.kernel.now + lasts, endFault, lasting, null);
    }
    this.#schedule(plan, this.#world.kernel.now);
    return false;
  }

  #plan(name: string, everyMs: number | undefined, begin: Plan["begin"]): void {
    if (everyMs === undefined) return;
    const random = generatorFor(this.#world.seed, `nemesis ${name}`);
    this.#schedule({ everyMs, random, begin }, ticksFromMs(this.#options.fromMs ?? 0));
  }

  /** From half to one and a half of the mean. */
  #schedule(plan: Plan, from: number): void {
    const wait = ticksFromMs(plan.everyMs * (0.5 + plan.random.fraction()));
    this.#world.kernel.at(from + wait, runStrike, { nemesis: this as Nemesis, plan }, null);
  }

  #machine(
    random: Prng,
    begin: (machine: SimMachine) => void,
    end: (machine: SimMachine) => void,
  ): Fault | undefined {
    if (this.#taken.size >= (this.#options.machinesMax ?? 1)) return undefined;
    const free = this.#world.network.machines.filter((machine) =>
      machine.running && !machine.immune && !this.#taken.has(machine)
    );
    if (free.length === 0) return undefined;
    const machine = random.pick(free);
    this.#taken.add(machine);
    begin(machine);
    return {
      heal: () => {
        this.#taken.delete(machine);
        end(machine);
      },
    };
  }

  /** Two sides, each with at least one machine. */
  #partition(random: Prng): Fault | undefined {
    const { machines } = this.#world.network;
    if (machines.length < 2) return undefined;
    const order = shuffled(machines, random);
    const first = random.between(1, order.length - 1);
    return this.#world.network.partition(order.slice(0, first), order.slice(first));
  }

  #oneWayCut(random: Prng): Fault | undefined {
    const pair = this.#pair(random);
    return pair === undefined ? undefined : this.#world.network.cut([pair[0]], [pair[1]]);
  }

  #slowLink(random: Prng): Fault | undefined {
    const pair = this.#pair(random);
    if (pair === undefined) return undefined;
    const [least, most] = this.#options.slowLinkBytesPerSecond ?? slowLinkDefault;
    return this.#world.network.slowLink(pair[0], pair[1], random.between(least, most));
  }

  #reset(random: Prng): undefined {
    const pair = this.#pair(random);
    if (pair !== undefined) this.#world.network.resetConnections(pair[0], pair[1]);
  }

  #clockJump(random: Prng): undefined {
    const { machines } = this.#world.network;
    const able = machines.filter((machine) => machine.powered && !machine.immune);
    if (able.length === 0) return;
    const most = this.#options.clockJumpMs ?? clockJumpMsDefault;
    random.pick(able).jumpWallClock(random.between(-most, most));
  }

  #pair(random: Prng): [SimMachine, SimMachine] | undefined {
    const { machines } = this.#world.network;
    if (machines.length < 2) return undefined;
    const [a, b] = shuffled(machines, random);
    return [a, b];
  }
}

function restart(machine: SimMachine): void {
  // The test may have restarted it by itself.
  if (!machine.running) machine.restart();
}

function shuffled<T>(items: readonly T[], random: Prng): T[] {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [order[at], order[other]] = [order[other], order[at]];
  }
  return order;
}

function runStrike({ nemesis, plan }: { nemesis: Nemesis; plan: Plan }): boolean {
  return nemesis.strike(plan);
}

function endFault(fault: Fault): boolean {
  fault.heal();
  return false;
}

function endNemesis(nemesis: Nemesis): boolean {
  nemesis.stop();
  return false;
}
