/** One machine: what stays when its processes end, and the faults that meet it as a whole. */
import { assert } from "../../base/assert.ts";
import { encodeText } from "../../base/bytes.ts";
import type { Prng } from "../../base/prng.ts";
import { NetError, type Runtime, type SignalName } from "../port.ts";
import { MachineClock } from "./clock.ts";
import type { SimConnection } from "./connection.ts";
import type { SimUdpSocket } from "./datagram.ts";
import { SimulationError } from "./error.ts";
import { PacketKind } from "./flow.ts";
import type { SimListener } from "./listener.ts";
import { type BoundListener, PortTable } from "./network.ts";
import { type ProcessOptions, SimProcess } from "./process.ts";
import { SimDisk } from "./sim_disk.ts";
import { ticksFromMs } from "./time.ts";
import { TraceKind } from "./trace.ts";
import { generatorFor, type World } from "./world.ts";

/** What runs in a process; it ends the process with the exit code that it answers. */
export type Program = (runtime: Runtime) => Promise<number | void> | number | void;

export interface MachineOptions {
  /** Runs at creation and after every restart; nothing means that the test runs things itself. */
  readonly boot?: Program;
  readonly args?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Working directory; made when missing. Default "/". */
  readonly directory?: string;
  readonly hostname?: string;
  readonly ip?: string;
  /** Size of the disk; default 1 GiB. */
  readonly diskBytes?: number;
  /** The wall clock is off by this; default within the fault option `clockSkewMs`. */
  readonly clockSkewMs?: number;
  /** Default within the fault option `clockDriftPpm`. */
  readonly clockDriftPpm?: number;
  /** The nemesis leaves this machine alone. */
  readonly immune?: boolean;
}

export interface CrashOptions {
  /**
   * Whether peers are told: `reset` after a while, as from a machine that is up again at once, or
   * `nothing`, as after a power loss. Default `reset`.
   */
  readonly peersSee?: "reset" | "nothing";
  /** When they see it; default 200. */
  readonly afterMs?: number;
}

const gibibyte = 1024 ** 3;

export class SimMachine {
  readonly index: number;
  readonly name: string;
  readonly hostname: string;
  readonly ip: string;
  readonly immune: boolean;
  readonly clock: MachineClock;
  readonly disk: SimDisk;
  readonly programs: ReadonlyMap<string, Program>;
  readonly processes = new Set<SimProcess>();
  readonly tcpPorts = new PortTable<BoundListener>();
  readonly udpPorts = new PortTable<SimUdpSocket>();
  readonly abstractListeners = new Map<string, SimListener<unknown>>();
  powered = true;
  nextPid = 100;
  readonly #world: World;
  readonly #options: MachineOptions;
  #main: SimProcess;
  /** Ends that the last crash made forget everything; their peers may still hold on. */
  #lost: SimConnection<unknown>[] = [];

  constructor(
    world: World,
    options: MachineOptions & {
      index: number;
      name: string;
      programs: ReadonlyMap<string, Program>;
    },
  ) {
    this.#world = world;
    this.#options = options;
    this.index = options.index;
    this.name = options.name;
    this.hostname = options.hostname ?? options.name;
    const number = options.index + 1;
    this.ip = options.ip ?? `10.0.${number >> 8}.${number & 255}`;
    this.immune = options.immune ?? false;
    this.programs = options.programs;
    this.clock = new MachineClock(world);
    this.disk = new SimDisk(world, options.name, options.diskBytes ?? gibibyte);
    const random = generatorFor(world.seed, `clock ${options.name}`);
    const { faults } = world;
    this.clock.wallOffsetMs = options.clockSkewMs ?? aroundZero(random, faults.clockSkewMs);
    const drift = options.clockDriftPpm ?? aroundZero(random, faults.clockDriftPpm);
    if (drift !== 0) {
      world.coverage.fault("clockDrift");
      this.clock.setDrift(drift);
    }
    this.disk.tree.makeFolders(this.#processOptions().directory, 0o755);
    this.disk.tree.syncFolder(this.disk.tree.root);
    this.#main = this.newProcess(this.#processOptions());
    this.#boot();
  }

  /** The runtime of the main process; a new one after each restart. */
  get runtime(): Runtime {
    return this.#main.runtime;
  }

  get process(): SimProcess {
    return this.#main;
  }

  /** Whether the main process lives. */
  get running(): boolean {
    return this.powered && !this.#main.dead;
  }

  /** What the main process wrote. */
  get stdout(): string {
    return this.#main.host.text("stdout");
  }

  get stderr(): string {
    return this.#main.host.text("stderr");
  }

  wallMs(): number {
    return this.clock.wallMs();
  }

  // -------------------------------------------------------------------------------------------
  // For tests

  /** Runs a program in the main process. */
  start(program: Program): void {
    this.run(this.#main, program);
  }

  signal(name: SignalName): void {
    this.#main.host.signal(name);
  }

  /** Stops everything on it, as SIGSTOP or a hypervisor does; packets wait in the kernel. */
  pause(): void {
    this.#fault("pause");
    for (const process of this.processes) process.pause();
  }

  resume(): void {
    for (const process of this.processes) process.resume();
  }

  /** Its processes take nothing from the network any more, but keep their sockets and timers. */
  stick(): void {
    this.#fault("stuckPeer");
    for (const process of this.processes) process.stuck = true;
  }

  unstick(): void {
    for (const process of this.processes) process.unstick();
  }

  /** `kill -9` of the main process. The machine lives, nothing that was written is lost. */
  kill(): void {
    if (this.#main.dead) return;
    this.#fault("kill");
    this.#main.end({ code: null, signal: "SIGKILL" });
  }

  /** The machine goes down: no callback any more, unsynced data is lost. */
  crash(options: CrashOptions = {}): void {
    if (!this.powered) return;
    const { kernel, network } = this.#world;
    const peersSee = options.peersSee ?? "reset";
    this.#fault(peersSee === "reset" ? "crash" : "powerLoss");
    const ends: SimConnection<unknown>[] = [];
    for (const process of this.processes) ends.push(...process.connections);
    this.powered = false;
    for (const process of this.processes) process.vanish();
    this.processes.clear();
    this.abstractListeners.clear();
    network.forget(this);
    this.disk.crash();
    this.#lost = ends;
    if (peersSee === "nothing") return;
    const at = kernel.now + ticksFromMs(options.afterMs ?? 200);
    kernel.at(at, resetPeers, ends, null);
  }

  /** Like `crash`, but nobody is told: peers learn it from their own timers or after a restart. */
  losePower(): void {
    this.crash({ peersSee: "nothing" });
  }

  /** Starts the machine again after a crash, or a new main process after its end. */
  restart(): Runtime {
    assert(!this.running, `machine ${this.name} runs already`);
    this.#fault("restart");
    if (!this.powered) {
      this.powered = true;
      this.clock.boot();
      this.#world.network.healed();
      // Peers with a full window have probed all the time; now somebody answers.
      for (const end of this.#lost) if (end.other.out.blocked) end.out.send(PacketKind.reset);
      this.#lost = [];
    }
    this.#main = this.newProcess(this.#processOptions());
    this.#boot();
    return this.runtime;
  }

  /** The wall clock jumps, forward or back. */
  jumpWallClock(ms: number): void {
    this.#fault("clockJump");
    this.clock.wallOffsetMs += ms;
  }

  /** The clocks run this much too fast (or too slow, when negative) from now on. */
  setClockDrift(partsPerMillion: number): void {
    this.#fault("clockDrift");
    this.clock.setDrift(partsPerMillion);
  }

  // -------------------------------------------------------------------------------------------
  // For the other parts

  newProcess(options: ProcessOptions): SimProcess {
    const process = new SimProcess(this.#world, this, options);
    this.processes.add(process);
    return process;
  }

  /** Runs a program in a process as an event; what it throws fails the simulation. */
  run(process: SimProcess, program: Program): void {
    this.#world.kernel.post(runMain, { world: this.#world, process, program }, process);
  }

  processEnded(process: SimProcess): void {
    this.processes.delete(process);
  }

  /** Lines for the report of a deadlock. */
  describe(): string[] {
    const state = this.powered ? (this.#main.dead ? "process ended" : "up") : "down";
    const lines = [`machine ${this.name} (${this.ip}): ${state}`];
    for (const process of this.processes) {
      const states = [process.paused ? "paused" : "", process.stuck ? "stuck" : ""].join("");
      lines.push(
        `  process ${process.pid}${states === "" ? "" : ` ${states}`}: ` +
          `${process.connections.size} connections, ${process.listeners.size} listeners, ` +
          `${process.disk.callsInFlight} disk calls, ${process.held.length} events held back`,
      );
      for (const end of process.connections) {
        if (end.unreadBytes === 0 && !end.out?.blocked) continue;
        lines.push(
          `    connection #${end.id} to ${end.other.process.machine.name}: ` +
            `${end.unreadBytes} bytes unread${end.out.blocked ? ", writer blocked" : ""}`,
        );
      }
    }
    return lines;
  }

  #boot(): void {
    this.#world.trace.record(TraceKind.boot, this.index, this.#main.pid);
    if (this.#options.boot !== undefined) this.run(this.#main, this.#options.boot);
  }

  #processOptions(): ProcessOptions {
    return {
      args: this.#options.args ?? [],
      environment: this.#options.environment ?? {},
      directory: this.#options.directory ?? "/",
    };
  }

  #fault(kind: Parameters<World["coverage"]["fault"]>[0]): void {
    this.#world.coverage.fault(kind);
    this.#world.trace.record(TraceKind.fault, this.index, 0, 0, encodeText(kind));
  }
}

/** A whole number from -most to most. */
function aroundZero(random: Prng, most: number): number {
  return most === 0 ? 0 : random.between(-most, most);
}

function runMain(
  { world, process, program }: { world: World; process: SimProcess; program: Program },
): boolean {
  process.main(program).catch((error: unknown) => {
    const where = `machine ${process.machine.name}`;
    world.kernel.fail(
      new SimulationError("callback", `the program of ${where} failed: ${String(error)}`, error),
    );
  });
  return true;
}

function resetPeers(ends: readonly SimConnection<unknown>[]): boolean {
  for (const end of ends) {
    if (end.out.link.cuts > 0) continue;
    end.other.fail(new NetError("reset", "the peer's machine went down"));
  }
  return false;
}
