/** UDP: datagrams that may get lost, doubled and overtaken, and multicast groups. */
import { NetError, type UdpHandler, type UdpOptions, type UdpSocket } from "../port.ts";
import { poisonByte } from "./connection.ts";
import type { Link } from "./link.ts";
import { bindIp, isLocalName, isNumericHost } from "./network.ts";
import type { SimProcess } from "./process.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

/** The most that fits into one IPv4 datagram. */
const datagramBytesMax = 65_507;

interface Datagram {
  readonly socket: SimUdpSocket;
  readonly bytes: Uint8Array;
  readonly host: string;
  readonly port: number;
  readonly link: Link;
  /** How many times as long its way is, so that others overtake it. */
  readonly detours: number;
}

export class SimUdpSocket implements UdpSocket {
  readonly host: string;
  /** The bound address; `host` is as it was asked for. */
  readonly ip: string;
  port = 0;
  readonly id: number;
  readonly process: SimProcess;
  readonly loopback: boolean;
  readonly #world: World;
  readonly #handler: UdpHandler;
  readonly #group: string | undefined;
  #closed = false;

  constructor(world: World, process: SimProcess, options: UdpOptions) {
    this.#world = world;
    this.id = world.nextId++;
    this.process = process;
    this.host = options.host;
    this.ip = bindIp(process.machine, options.host);
    this.loopback = options.multicast?.loopback ?? true;
    this.#handler = options.handler;
    const multicast = options.multicast;
    if (multicast !== undefined && !isMulticast(multicast.group)) {
      throw new NetError("invalid", `${multicast.group} is not a multicast group`);
    }
    this.port = process.machine.udpPorts.claim(options.port, this, multicast !== undefined);
    // A group is reached on one port only, as the kernel has it.
    this.#group = multicast === undefined ? undefined : `${multicast.group}:${this.port}`;
    if (this.#group !== undefined) {
      const groups = world.network.groups;
      const members = groups.get(this.#group) ?? new Set();
      groups.set(this.#group, members.add(this));
    }
    process.udpSockets.add(this);
  }

  send(datagram: Uint8Array, host: string, port: number): void {
    if (this.#closed || this.process.dead) return;
    const { trace, network } = this.#world;
    const { machine } = this.process;
    trace.record(TraceKind.udpSend, machine.index, this.id, port, datagram);
    if (datagram.length > datagramBytesMax) {
      const error = new NetError("invalid", `a datagram of ${datagram.length} bytes is too large`);
      this.#world.kernel.post(runError, { socket: this, error }, this.process);
      return;
    }
    if (isMulticast(host)) {
      for (const member of network.groups.get(`${host}:${port}`) ?? []) {
        if (member.process.machine === machine && !this.loopback) continue;
        this.#sendTo(member, datagram, machine.ip);
      }
      return;
    }
    const found = network.resolve(machine, host);
    if (found === undefined) {
      // An address that nobody has swallows it; a name is looked up first.
      if (isNumericHost(host)) return;
      const error = new NetError("not-found", `nobody is called ${host}`);
      this.#world.kernel.post(runError, { socket: this, error }, this.process);
      return;
    }
    const target = found.machine.udpPorts.find(found.ip, port)[0];
    const local = found.machine === machine && isLocalName(found.ip);
    if (target !== undefined) this.#sendTo(target, datagram, local ? found.ip : machine.ip);
  }

  close(): void {
    if (this.#closed || this.process.dead) return;
    this.#world.trace.record(TraceKind.udpClose, this.process.machine.index, this.id);
    this.release();
  }

  /** Frees port and group; also called when the process dies. */
  release(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.process.udpSockets.delete(this);
    this.process.machine.udpPorts.release(this.port, this);
    if (this.#group !== undefined) this.#world.network.groups.get(this.#group)?.delete(this);
  }

  #sendTo(target: SimUdpSocket, datagram: Uint8Array, sourceIp: string): void {
    const { faults, network, coverage } = this.#world;
    const from = this.process.machine;
    const to = target.process.machine;
    const link = network.link(from, to);
    const random = network.random.udp;
    let copies = 1;
    if (from !== to) {
      if (faults.udpLossChance > 0 && random.chance(faults.udpLossChance)) {
        coverage.fault("udpLoss");
        copies = 0;
      } else if (faults.udpDuplicateChance > 0 && random.chance(faults.udpDuplicateChance)) {
        coverage.fault("udpDuplicate");
        copies = 2;
      }
    }
    if (!link.passable) return;
    for (let copy = 0; copy < copies; copy++) {
      let detours = 0;
      if (from !== to && faults.udpReorderChance > 0 && random.chance(faults.udpReorderChance)) {
        coverage.fault("udpReorder");
        detours = random.between(1, 9);
      }
      const message: Datagram = {
        socket: target,
        bytes: datagram.slice(),
        host: sourceIp,
        port: this.port,
        link,
        detours,
      };
      link.send({ bytes: datagram.length + 28, notBefore: 0 }, datagramLeft, message);
    }
  }

  /** Called when a datagram is past what limits the link's speed. */
  left(message: Datagram, arrival: number): void {
    const { kernel } = this.#world;
    const at = arrival + (arrival - kernel.now) * message.detours;
    kernel.at(at, runDatagram, message, null);
  }

  /** Called by the event of an arrival: cuts drop what is under way, buffers hold what waits. */
  arrived(message: Datagram): boolean {
    const process = this.process;
    if (!message.link.passable || process.dead || this.#closed) return false;
    if (!process.paused && !process.stuck) return this.receive(message);
    this.#world.kernel.post(runReceive, message, process);
    return false;
  }

  receive(message: Datagram): boolean {
    if (this.process.park(runReceive, message)) return false;
    if (this.#closed) return false;
    const { bytes, host, port } = message;
    this.#world.trace.record(
      TraceKind.udpMessage,
      this.process.machine.index,
      this.id,
      bytes.length,
    );
    this.#handler.message(this, bytes, host, port);
    bytes.fill(poisonByte);
    return true;
  }

  failed(error: NetError): boolean {
    if (this.#closed) return false;
    this.#handler.error(this, error);
    return true;
  }
}

export function bindUdpSocket(
  world: World,
  process: SimProcess,
  options: UdpOptions,
): SimUdpSocket {
  const socket = new SimUdpSocket(world, process, options);
  world.trace.record(TraceKind.udpBind, process.machine.index, socket.id, socket.port);
  return socket;
}

function isMulticast(host: string): boolean {
  const first = Number(/^(\d{1,3})\./.exec(host)?.[1]);
  return (first >= 224 && first <= 239) || /^ff/i.test(host);
}

function datagramLeft(message: Datagram, arrival: number): void {
  message.socket.left(message, arrival);
}

function runDatagram(message: Datagram): boolean {
  return message.socket.arrived(message);
}

function runReceive(message: Datagram): boolean {
  return message.socket.receive(message);
}

function runError({ socket, error }: { socket: SimUdpSocket; error: NetError }): boolean {
  return socket.failed(error);
}
