/** The network between machines: names, links, who listens where, and the faults of links. */
import type { Prng } from "../../base/prng.ts";
import { NetError } from "../port.ts";
import type { SimConnection } from "./connection.ts";
import type { SimUdpSocket } from "./datagram.ts";
import type { Flow } from "./flow.ts";
import { Link } from "./link.ts";
import type { SimListener } from "./listener.ts";
import type { SimMachine } from "./machine.ts";
import { NameTable } from "./names.ts";
import { drawTicks, generatorFor, type World } from "./world.ts";

/** A fault that lasts until it is healed. Healing twice does nothing. */
export interface Fault {
  heal(): void;
}

/** Between processes of one machine. */
const localLatencyTicks = 16;

/** Each kind of fault draws from its own generator. */
export interface NetworkRandom {
  readonly retransmit: Prng;
  readonly split: Prng;
  readonly partial: Prng;
  readonly reset: Prng;
  readonly udp: Prng;
}

export class Network {
  readonly machines: SimMachine[] = [];
  /** Flows with packets that found their path shut. */
  readonly stalled = new Set<Flow>();
  /** Sockets in multicast groups. */
  readonly groups = new Map<string, Set<SimUdpSocket>>();
  /** What look-ups answer, beside the machines' own names. */
  readonly names = new NameTable();
  readonly random: NetworkRandom;
  readonly #world: World;
  /** By `from.index * machinesMax + to.index`. */
  readonly #links = new Map<number, Link>();

  constructor(world: World) {
    this.#world = world;
    const seed = world.seed;
    this.random = {
      retransmit: generatorFor(seed, "network retransmit"),
      split: generatorFor(seed, "network split"),
      partial: generatorFor(seed, "network partial"),
      reset: generatorFor(seed, "network reset"),
      udp: generatorFor(seed, "network udp"),
    };
  }

  link(from: SimMachine, to: SimMachine): Link {
    const key = from.index * machinesMax + to.index;
    const known = this.#links.get(key);
    if (known !== undefined) return known;
    const local = from === to;
    // Both directions of a pair have the same length, as cables do; jitter makes them differ.
    const [a, b] = from.index < to.index ? [from, to] : [to, from];
    const random = generatorFor(this.#world.seed, `link ${a.name} ${b.name}`);
    const link = new Link(from, to, {
      kernel: this.#world.kernel,
      latencyTicks: local ? localLatencyTicks : drawTicks(random, this.#world.faults.latencyMs),
      jitterMs: local ? [0, 0] : this.#world.faults.jitterMs,
      random: generatorFor(this.#world.seed, `jitter ${from.name} ${to.name}`),
    });
    this.#links.set(key, link);
    return link;
  }

  /** The machine and address behind a host name; undefined when nobody has it. */
  resolve(from: SimMachine, host: string): { machine: SimMachine; ip: string } | undefined {
    if (isLocalName(host)) return { machine: from, ip: loopbackIp(host) };
    for (const machine of this.machines) {
      if (machine.name === host || machine.hostname === host || machine.ip === host) {
        return { machine, ip: machine.ip };
      }
    }
    return undefined;
  }

  /** Cuts both directions between every machine of one set and every machine of the other. */
  partition(these: readonly SimMachine[], those: readonly SimMachine[]): Fault {
    this.#world.coverage.fault("partition");
    const links: Link[] = [];
    for (const a of these) {
      for (const b of those) if (a !== b) links.push(this.link(a, b), this.link(b, a));
    }
    return this.#cut(links);
  }

  /** Packets from one set of machines to the other vanish; those of the way back pass. */
  cut(from: readonly SimMachine[], to: readonly SimMachine[]): Fault {
    this.#world.coverage.fault("oneWayCut");
    const links: Link[] = [];
    for (const a of from) for (const b of to) if (a !== b) links.push(this.link(a, b));
    return this.#cut(links);
  }

  /** One direction carries this many bytes a second at most. */
  slowLink(from: SimMachine, to: SimMachine, bytesPerSecond: number): Fault {
    this.#world.coverage.fault("slowLink");
    return { heal: this.link(from, to).limit(bytesPerSecond) };
  }

  /** Resets every connection between two machines, or of one with anybody. Returns how many. */
  resetConnections(a: SimMachine, b: SimMachine | undefined): number {
    const ends: SimConnection<unknown>[] = [];
    for (const process of a.processes) {
      for (const end of process.connections) {
        if (end.other === undefined || end.phase !== "open") continue;
        const far = end.other.process.machine;
        if (b === undefined ? far !== a : far === b) ends.push(end);
      }
    }
    for (const end of ends) {
      this.#world.coverage.fault("connectionReset");
      end.fail(new NetError("reset", "connection reset by a fault"));
      end.other.fail(new NetError("reset", "connection reset by a fault"));
    }
    return ends.length;
  }

  /** Some path may be open again. */
  healed(): void {
    for (const flow of [...this.stalled]) flow.resend();
  }

  /** A machine lost its power: what it had not sent yet is gone. */
  forget(machine: SimMachine): void {
    for (const flow of [...this.stalled]) if (flow.link.from === machine) flow.drop();
  }

  /** Lines for the report of a deadlock: what does not flow and why. */
  describe(): string[] {
    const lines: string[] = [];
    for (const link of this.#links.values()) {
      const name = `${link.from.name} -> ${link.to.name}`;
      if (link.cuts > 0) lines.push(`cut: ${name}`);
      if (link.slow) lines.push(`slow: ${link.waitingBytes} bytes wait ${name}`);
    }
    for (const flow of this.stalled) {
      const { from, to } = flow.link;
      lines.push(`stalled: ${flow.stalledPackets} packets ${from.name} -> ${to.name}`);
    }
    return lines;
  }

  #cut(links: readonly Link[]): Fault {
    for (const link of links) link.cuts++;
    let healed = false;
    return {
      heal: () => {
        if (healed) return;
        healed = true;
        for (const link of links) link.cuts--;
        this.healed();
      },
    };
  }
}

export const machinesMax = 65536;

/** The address that a local name means. */
export function loopbackIp(host: string): string {
  return host === "localhost" ? "127.0.0.1" : host;
}

export function isLocalName(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** Whether a host is written as an address rather than as a name. */
export function isNumericHost(host: string): boolean {
  return /^[\d.]+$|:/.test(host);
}

/** Whether the number fits where TCP and UDP have their ports. */
export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 65_535;
}

/** The address that a host to bind means on this machine; throws `invalid` when it is not here. */
export function bindIp(machine: SimMachine, host: string): string {
  if (isWildcard(host)) return host;
  if (isLocalName(host)) return loopbackIp(host);
  if (host === machine.name || host === machine.hostname || host === machine.ip) return machine.ip;
  throw new NetError("invalid", `${host} is not an address of this machine`);
}

/** What both tables of ports and both kinds of sockets share: one machine's ports of one kind. */
export class PortTable<T extends { readonly ip: string }> {
  readonly #byPort = new Map<number, T[]>();
  #nextFree = portFirst;

  /** Throws `in-use`. Port 0 takes a free one. Sharing is for multicast. */
  claim(port: number, entry: T, shared: boolean): number {
    if (!isPort(port)) throw new NetError("invalid", `${port} is not a port`);
    const chosen = port === 0 ? this.#free() : port;
    const there = this.#byPort.get(chosen) ?? [];
    const clash = there.some((other) =>
      other.ip === entry.ip || isWildcard(other.ip) || isWildcard(entry.ip)
    );
    if (clash && !shared) throw new NetError("in-use", `port ${chosen} is in use`);
    this.#byPort.set(chosen, [...there, entry]);
    return chosen;
  }

  release(port: number, entry: T): void {
    const left = (this.#byPort.get(port) ?? []).filter((other) => other !== entry);
    if (left.length === 0) this.#byPort.delete(port);
    else this.#byPort.set(port, left);
  }

  /** Who gets what arrives for this address. */
  find(ip: string, port: number): T[] {
    const there = this.#byPort.get(port);
    if (there === undefined) return [];
    return there.filter((entry) => entry.ip === ip || isWildcard(entry.ip));
  }

  clear(): void {
    this.#byPort.clear();
  }

  /** A port for an outgoing connection; it is not claimed. */
  ephemeral(): number {
    return this.#free();
  }

  #free(): number {
    for (;;) {
      const port = this.#nextFree++;
      if (this.#nextFree > portLast) this.#nextFree = portFirst;
      if (!this.#byPort.has(port)) return port;
    }
  }
}

/** Linux's default range of ephemeral ports. */
const portFirst = 32768;
const portLast = 60999;

/** What a TCP port leads to. */
export interface BoundListener {
  readonly ip: string;
  listener: SimListener<unknown>;
}
