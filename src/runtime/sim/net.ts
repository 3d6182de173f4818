/** The `Net` of one process: checks what is asked for and hands it to the network. */
import { type Address, formatAddress } from "../../base/address.ts";
import type { TlsInspection } from "../../base/certificate.ts";
import {
  type Connection,
  type ConnectOptions,
  dialsMax,
  dialsPerAddressMax,
  type Listener,
  type ListenOptions,
  type NameKind,
  type NameRecords,
  type Net,
  NetError,
  type Peer,
  type ResolveOptions,
  type TlsOptions,
  type UdpOptions,
  type UdpSocket,
} from "../port.ts";
import { bindUdpSocket } from "./datagram.ts";
import { Dial, type DialTarget } from "./dial.ts";
import { checkOwnIdentity, inspectIdentity } from "./identity.ts";
import { SimListener } from "./listener.ts";
import { SimLookups } from "./names.ts";
import { never } from "./never.ts";
import { bindIp, type BoundListener, isNumericHost, isPort } from "./network.ts";
import type { SimProcess } from "./process.ts";
import { ticksFromMs } from "./time.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

/** How long a look-up of a name that nobody has takes. */
const lookupMs = 1;

export class SimNet implements Net {
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #dials = new Map<string, number>();
  readonly #lookups: SimLookups;
  #dialsInFlight = 0;

  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
    this.#lookups = new SimLookups(world, process);
  }

  // A dead process gets no answer to anything: its promises stay open for ever.
  listen<S>(options: ListenOptions<S>): Promise<Listener> {
    if (this.#process.dead) return never();
    return new Promise((resolve) => resolve(this.#listen(options)));
  }

  connect<S>(options: ConnectOptions<S>): Promise<Connection<S>> {
    if (this.#process.dead) return never();
    return new Promise((resolve, reject) => this.#connect(options, resolve, reject));
  }

  bindUdp(options: UdpOptions): Promise<UdpSocket> {
    if (this.#process.dead) return never();
    return new Promise((resolve) => resolve(bindUdpSocket(this.#world, this.#process, options)));
  }

  resolve<K extends NameKind>(options: ResolveOptions<K>): Promise<NameRecords[K]> {
    return this.#process.dead ? never() : this.#lookups.resolve(options);
  }

  inspectTls(options: TlsOptions): TlsInspection {
    return inspectIdentity(options);
  }

  #listen<S>(options: ListenOptions<S>): Listener {
    const { address } = options;
    if (!(options.connectionsMax > 0)) {
      throw new NetError("invalid", "connectionsMax must be above 0");
    }
    if (options.tls !== undefined) checkOwnIdentity(options.tls);
    const listener = address.kind === "tcp"
      ? this.#listenTcp(options, address)
      : this.#listenLocal(options, address);
    this.#process.listeners.add(listener as SimListener<unknown>);
    this.#world.trace.record(
      TraceKind.listen,
      this.#process.machine.index,
      listener.id,
      listener.address.kind === "tcp" ? listener.address.port : 0,
    );
    return listener;
  }

  #listenTcp<S>(
    options: ListenOptions<S>,
    address: Address & { kind: "tcp" },
  ): SimListener<S> {
    const { machine } = this.#process;
    const ip = bindIp(machine, address.host);
    const bound = { ip } as BoundListener;
    const port = machine.tcpPorts.claim(address.port, bound, false);
    const listener = new SimListener<S>(this.#world, {
      process: this.#process,
      address: { kind: "tcp", host: address.host, port },
      listen: options,
      release: () => machine.tcpPorts.release(port, bound),
    });
    bound.listener = listener as SimListener<unknown>;
    return listener;
  }

  #listenLocal<S>(options: ListenOptions<S>, address: Address): SimListener<S> {
    if (address.kind === "abstract") return this.#listenAbstract(options, address);
    if (address.kind === "unix") return this.#listenUnix(options, address);
    throw new NetError("unsupported", `${formatAddress(address)} cannot be listened on here`);
  }

  #listenAbstract<S>(
    options: ListenOptions<S>,
    address: Address & { kind: "abstract" },
  ): SimListener<S> {
    const { abstractListeners } = this.#process.machine;
    if (abstractListeners.has(address.name)) {
      throw new NetError("in-use", `${formatAddress(address)} is in use`);
    }
    const listener = new SimListener<S>(this.#world, {
      process: this.#process,
      address,
      listen: options,
      release: () => abstractListeners.delete(address.name),
    });
    abstractListeners.set(address.name, listener as SimListener<unknown>);
    return listener;
  }

  #listenUnix<S>(
    options: ListenOptions<S>,
    address: Address & { kind: "unix" },
  ): SimListener<S> {
    const { tree } = this.#process.machine.disk;
    const path = this.#process.resolvePath(address.path);
    if (this.#isDenied(path)) throw new NetError("denied", `listen on ${address.path}: denied`);
    const node = tree.placeSocket(path, options.mode ?? 0o600);
    if (node === "in-the-way") throw new NetError("in-use", `${address.path} is in use`);
    if (node === "no-folder") {
      throw new NetError("not-found", `the folder of ${address.path} does not exist`);
    }
    const listener = new SimListener<S>(this.#world, {
      process: this.#process,
      address,
      listen: options,
      release: () => tree.removeSocket(path, node),
    });
    node.listener = listener as SimListener<unknown>;
    return listener;
  }

  #connect<S>(
    options: ConnectOptions<S>,
    resolve: (connection: Connection<S>) => void,
    reject: (error: NetError) => void,
  ): void {
    const { address } = options;
    const name = formatAddress(address);
    const { signal } = options;
    if (signal?.aborted === true) {
      return reject(new NetError("aborted", "the dial was aborted before it began", signal.reason));
    }
    if (options.tls !== undefined) {
      checkOwnIdentity(options.tls);
      if (options.tls.serverName === undefined && address.kind !== "tcp") {
        return reject(new NetError("invalid", `tls to ${name} needs a serverName to look for`));
      }
    }
    const inFlight = this.#dials.get(name) ?? 0;
    if (inFlight >= dialsPerAddressMax || this.#dialsInFlight >= dialsMax) {
      return reject(new NetError("limit", `${inFlight} dials to ${name} are in flight`));
    }
    if (address.kind === "vsock") {
      return reject(new NetError("unsupported", "vsock does not exist on the simulator"));
    }
    if (address.kind === "tcp" && !isPort(address.port)) {
      return reject(new NetError("invalid", `${address.port} is not a port`));
    }
    const target = this.#target(address);
    if (target instanceof NetError) {
      const failure = { reject, error: target };
      const at = this.#world.kernel.now + ticksFromMs(lookupMs);
      this.#world.kernel.at(at, runReject, failure, this.#process);
      return;
    }
    this.#dials.set(name, inFlight + 1);
    this.#dialsInFlight++;
    const { machine } = this.#process;
    this.#world.trace.record(TraceKind.dial, machine.index, target.machine.index);
    new Dial(this.#world, this.#process, {
      connect: options,
      target,
      resolve,
      reject,
      done: () => {
        this.#dialsInFlight--;
        const left = this.#dials.get(name)! - 1;
        if (left === 0) this.#dials.delete(name);
        else this.#dials.set(name, left);
      },
    });
  }

  #target(address: Exclude<Address, { kind: "vsock" }>): DialTarget | NetError {
    const { machine } = this.#process;
    if (address.kind === "tcp") return this.#targetTcp(address);
    const peer: Peer = { address, local: address };
    if (address.kind === "abstract") {
      const find = () => machine.abstractListeners.get(address.name);
      return { machine, peer, seen: peer, find };
    }
    const path = this.#process.resolvePath(address.path);
    if (this.#isDenied(path)) return new NetError("denied", `dial ${address.path}: denied`);
    if (machine.disk.tree.find(path) === undefined) {
      return new NetError("not-found", `${address.path} does not exist`);
    }
    const find = () => {
      const node = machine.disk.tree.find(path);
      return node?.kind === "socket" && node.listener?.stopped === false
        ? node.listener
        : undefined;
    };
    return { machine, peer, seen: peer, find };
  }

  #isDenied(path: string): boolean {
    return this.#process.machine.disk.isDenied(path);
  }

  #targetTcp(address: Address & { kind: "tcp" }): DialTarget | NetError {
    const { machine } = this.#process;
    const found = this.#world.network.resolve(machine, address.host);
    if (found === undefined) {
      return isNumericHost(address.host)
        ? new NetError("unreachable", `no route to ${address.host}`)
        : new NetError("not-found", `nobody is called ${address.host}`);
    }
    const own = found.machine === machine ? found.ip : machine.ip;
    const local: Address = { kind: "tcp", host: own, port: machine.tcpPorts.ephemeral() };
    const remote: Address = { kind: "tcp", host: found.ip, port: address.port };
    return {
      machine: found.machine,
      peer: { address: remote, local },
      seen: { address: local, local: remote },
      find: () => found.machine.tcpPorts.find(found.ip, address.port)[0]?.listener,
    };
  }
}

function runReject(
  { reject, error }: { reject: (error: NetError) => void; error: NetError },
): boolean {
  reject(error);
  return true;
}
