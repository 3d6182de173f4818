/**
 * The deterministic third implementation of the seam. A simulation owns the time, the network and
 * a number of machines, each with a `Runtime` of its own, on which whole nodes run unchanged. The
 * seed decides everything that is not decided by the program: the same seed gives the same run.
 *
 * Fault by fault and option by option this follows the packet simulator of TigerBeetle
 * (src/testing/packet_simulator.zig). A dynamic `import()` inside a run is the one thing whose
 * duration is real: import before.
 */
import { wallStartMs } from "./clock.ts";
import { Coverage } from "./coverage.ts";
import { calmChances, completeFaults, type FaultOptions } from "./faults.ts";
import { IdentityMaker, type IdentityOptions, type SimIdentity } from "./identity.ts";
import { Kernel, type RunOptions, type RunReport } from "./kernel.ts";
import { type MachineOptions, type Program, SimMachine } from "./machine.ts";
import { Nemesis } from "./nemesis.ts";
import { type Fault, Network } from "./network.ts";
import { msFromTicks, ticksFromMs } from "./time.ts";
import { Trace } from "./trace.ts";
import { generatorFor, type World } from "./world.ts";

export interface SimulationOptions extends FaultOptions {
  readonly seed: number;
  /** States that the run must reach, see {@link Simulation.mark}. */
  readonly marks?: readonly string[];
  /** Gets each record of the trace as a line. */
  readonly log?: (line: string) => void;
}

/** Machines by name or by themselves, one or several. */
export type Machines = string | SimMachine | readonly (string | SimMachine)[];

const yearMs = 365 * 86_400_000;
/** Lines of the trace in the report of a failed run. */
const reportTailLines = 12;

export class Simulation {
  readonly seed: number;
  readonly coverage: Coverage;
  readonly #world: World;
  readonly #kernel: Kernel;
  readonly #network: Network;
  readonly #machines = new Map<string, SimMachine>();
  readonly #programs = new Map<string, Program>();
  readonly #identities: IdentityMaker;
  readonly #nemesis: Nemesis | undefined;

  constructor(options: SimulationOptions) {
    this.seed = options.seed;
    this.coverage = new Coverage(options.marks);
    this.#kernel = new Kernel(() => this.describe());
    const world = {
      seed: options.seed,
      faults: completeFaults(options),
      kernel: this.#kernel,
      trace: new Trace(options.seed, () => this.#kernel.now, options.log),
      coverage: this.coverage,
      nextId: 1,
    } as World & { network: Network };
    this.#network = new Network(world);
    world.network = this.#network;
    this.#world = world;
    this.#identities = new IdentityMaker(options.seed, wallStartMs + yearMs);
    if (options.nemesis !== undefined) this.#nemesis = new Nemesis(world, options.nemesis);
  }

  /** True time since the start; machines' own clocks may drift from it. */
  get nowMs(): number {
    return msFromTicks(this.#kernel.now);
  }

  /** Events so far. */
  get events(): number {
    return this.#kernel.events;
  }

  /** The hash of everything that crossed the seam so far. */
  get hash(): string {
    return this.#world.trace.digestHex();
  }

  /** What look-ups of names answer, on every machine. */
  get names(): Network["names"] {
    return this.#network.names;
  }

  get machines(): readonly SimMachine[] {
    return this.#network.machines;
  }

  /** The machine of this name; made, and started, when it is new. */
  machine(name: string, options: MachineOptions = {}): SimMachine {
    const known = this.#machines.get(name);
    if (known !== undefined) return known;
    const machine = new SimMachine(this.#world, {
      ...options,
      index: this.#network.machines.length,
      name,
      programs: this.#programs,
    });
    this.#machines.set(name, machine);
    this.#network.machines.push(machine);
    return machine;
  }

  /** What `host.spawn` finds under this command, on every machine. */
  program(command: string, program: Program): void {
    this.#programs.set(command, program);
  }

  /** Strings for `TlsOptions`. */
  identity(options: IdentityOptions = {}): SimIdentity {
    return this.#identities.make(options);
  }

  /** A generator for the test's own choices, apart from all others. */
  random(concern: string): ReturnType<typeof generatorFor> {
    return generatorFor(this.seed, `test ${concern}`);
  }

  // -------------------------------------------------------------------------------------------
  // Running

  /**
   * Runs events until the options say so. Rejects with a `SimulationError` when what is awaited
   * cannot come any more, when a callback threw, or with the awaited promise's own error.
   */
  run(options: RunOptions): Promise<RunReport> {
    return this.#kernel.run(options);
  }

  /** Runs until the promise settles, and hands its value on. */
  async wait<T>(promise: Promise<T>, options: Omit<RunOptions, "until"> = {}): Promise<T> {
    await this.run({ ...options, until: promise });
    return await promise;
  }

  /** Calls back at a time, or now when that is past, whatever happens to machines. */
  at(ms: number, callback: () => void): void {
    this.#kernel.at(ticksFromMs(ms), runCallback, callback, null);
  }

  // -------------------------------------------------------------------------------------------
  // Faults; those of one machine are its own methods

  /** Cuts both ways between two sets of machines; without the second, from all others. */
  partition(these: Machines, those?: Machines): Fault {
    const left = this.#find(these);
    const right = those === undefined
      ? this.machines.filter((machine) => !left.includes(machine))
      : this.#find(those);
    return this.#network.partition(left, right);
  }

  /** Cuts one way: what `from` sends does not reach `to`. */
  cut(from: Machines, to: Machines): Fault {
    return this.#network.cut(this.#find(from), this.#find(to));
  }

  /** Limits one direction to so many bytes a second. */
  slowLink(from: Machines, to: Machines, bytesPerSecond: number): Fault {
    const faults = this.#find(from).flatMap((a) =>
      this.#find(to).map((b) => this.#network.slowLink(a, b, bytesPerSecond))
    );
    return { heal: () => faults.forEach((fault) => fault.heal()) };
  }

  /** Sets the one-way latency of both directions. */
  setLatency(a: Machines, b: Machines, ms: number): void {
    for (const from of this.#find(a)) {
      for (const to of this.#find(b)) {
        this.#network.link(from, to).latencyTicks = ticksFromMs(ms);
        this.#network.link(to, from).latencyTicks = ticksFromMs(ms);
      }
    }
  }

  /** Resets the connections between two machines, or all of one. Returns how many. */
  resetConnections(a: string | SimMachine, b?: string | SimMachine): number {
    const [from] = this.#find(a);
    return this.#network.resetConnections(from, b === undefined ? undefined : this.#find(b)[0]);
  }

  /** Changes fault options from now on; links that exist keep their latency. */
  setFaults(options: Omit<FaultOptions, "nemesis">): void {
    Object.assign(this.#world.faults, options);
  }

  /**
   * Ends what the nemesis began, the nemesis, and all faults by chance, so that a run can show that
   * everything recovers. What the test itself began is its own to heal.
   */
  calmDown(): void {
    this.#nemesis?.stop();
    this.setFaults(calmChances);
  }

  // -------------------------------------------------------------------------------------------
  // What happened

  /** Counts that a state was reached. */
  mark(name: string): void {
    this.coverage.mark(name);
  }

  /** The last records of the trace, oldest first. */
  traceTail(): string[] {
    return this.#world.trace.tail();
  }

  /** Time, machines, cuts, stalls and the end of the trace, for a report. */
  describe(): string {
    return [
      `seed ${this.seed}, ${this.nowMs.toFixed(3)} ms, ${this.events} events, ` +
      `${this.#kernel.queue.length} scheduled`,
      ...this.machines.flatMap((machine) => machine.describe()),
      ...this.#network.describe(),
      "last records:",
      ...this.traceTail().slice(-reportTailLines).map((line) => `  ${line}`),
    ].join("\n");
  }

  #find(which: Machines): SimMachine[] {
    const list = typeof which === "string" || which instanceof SimMachine ? [which] : which;
    return list.map((one) => typeof one === "string" ? this.machine(one) : one);
  }
}

export function createSimulation(options: SimulationOptions): Simulation {
  return new Simulation(options);
}

function runCallback(callback: () => void): boolean {
  callback();
  return true;
}
