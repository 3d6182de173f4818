/** A listening socket: the accepting half of a connection's setup. */
import type { Address } from "../../base/address.ts";
import {
  handshakeMsDefault,
  type Listener,
  type ListenOptions,
  NetError,
  type Peer,
  type TlsOptions,
} from "../port.ts";
import { type Establisher, SimConnection } from "./connection.ts";
import type { SimEvent } from "./event_queue.ts";
import { type Packet, PacketKind } from "./flow.ts";
import { checkOwnIdentity, verifyCertificate } from "./identity.ts";
import type { SimProcess } from "./process.ts";
import { ticksFromMs } from "./time.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

/** What the two ends of a TLS handshake tell each other. */
export type HandshakeMessage =
  | { readonly step: "server"; readonly certificate: string }
  | { readonly step: "client"; readonly certificate: string }
  | { readonly step: "alert"; readonly reason: string };

/** Comes with the `established` packet. */
export interface EstablishedMessage {
  readonly secure: boolean;
}

/** How a dial describes itself to the listener's kernel. */
export interface DialInfo {
  readonly peer: Peer;
  readonly pid: number;
  readonly tls: boolean;
}

/** A connection that is not open yet. */
interface Setup {
  readonly info: DialInfo;
  /** What the handshake began with; a renewal is for those that come later. */
  tls: TlsOptions | undefined;
  /** Limits the handshake; null outside of one. */
  timer: SimEvent | null;
}

export class SimListener<S> implements Listener, Establisher {
  readonly address: Address;
  readonly id: number;
  readonly process: SimProcess;
  connections = 0;
  refused = 0;
  handshakesFailed = 0;
  readonly #world: World;
  readonly #options: ListenOptions<S>;
  #tls: TlsOptions | undefined;
  #stopped = false;
  readonly #release: () => void;
  /** Ends whose setup is under way, with their dial and, under TLS, their time limit. */
  readonly #setups = new Map<SimConnection<unknown>, Setup>();
  /** Handshakes under way: they hold a place as connections do. */
  #handshakes = 0;

  /** `release` frees the port or the path. */
  constructor(world: World, options: {
    process: SimProcess;
    address: Address;
    listen: ListenOptions<S>;
    release: () => void;
  }) {
    this.#world = world;
    this.id = world.nextId++;
    this.process = options.process;
    this.address = options.address;
    this.#options = options.listen;
    this.#tls = options.listen.tls;
    this.#release = options.release;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Whether it expects a handshake. */
  get secure(): boolean {
    return this.#tls !== undefined;
  }

  renewTls(tls: TlsOptions): void {
    checkOwnIdentity(tls);
    if (this.#tls === undefined) throw new NetError("invalid", "the listener has no tls to renew");
    this.#tls = tls;
  }

  stop(): void {
    if (this.#stopped || this.process.dead) return;
    this.#stopped = true;
    this.process.listeners.delete(this);
    this.#world.trace.record(TraceKind.stopListening, this.process.machine.index, this.id);
    this.#release();
    for (const [end, setup] of this.#setups) {
      if (setup.timer !== null) this.#world.kernel.cancel(setup.timer);
      end.dismiss("reset");
    }
    this.#setups.clear();
    this.#handshakes = 0;
  }

  /** The process died: frees the port; a path stays behind, as the kernel leaves it. */
  abandon(): void {
    this.#stopped = true;
    if (this.address.kind !== "unix") this.#release();
  }

  /** The kernel's part of accepting: makes this side's end of the connection. */
  newEnd(info: DialInfo): SimConnection<unknown> {
    const credentials = this.#options.credentials === true
      ? { pid: info.pid, uid: 1000, gid: 1000 }
      : undefined;
    const peer: Peer = credentials === undefined ? info.peer : { ...info.peer, credentials };
    const end = new SimConnection<S>(this.#world, {
      process: this.process,
      peer,
      // The state is the module's to make once the peer is verified.
      state: undefined as S,
      handler: this.#options.handler,
      establisher: this,
    });
    this.#setups.set(end, { info, tls: undefined, timer: null });
    return end;
  }

  setup(end: SimConnection<unknown>, packet: Packet): boolean {
    const setup = this.#setups.get(end);
    if (setup === undefined) return false;
    if (packet.kind === PacketKind.accept) return this.#accept(end, setup);
    const message = packet.message as HandshakeMessage;
    if (message.step === "alert") return this.#handshakeFailed(end);
    if (message.step !== "client" || setup.tls === undefined) return this.#handshakeFailed(end);
    const verdict = verifyCertificate(setup.tls, message.certificate, {
      wallMs: this.process.machine.wallMs(),
      serverName: undefined,
    });
    this.#world.trace.record(
      TraceKind.verifyPeer,
      this.process.machine.index,
      end.id,
      verdict.kind === "verified" ? 1 : 0,
    );
    if (verdict.kind === "rejected") {
      const alert: HandshakeMessage = { step: "alert", reason: verdict.reason };
      end.out.send(PacketKind.handshake, alert);
      return this.#handshakeFailed(end);
    }
    end.peer = { ...end.peer, certificate: verdict.certificate };
    return this.#open(end);
  }

  /** Bytes, or the end, in place of a handshake. What a plain listener gets early just waits. */
  early(end: SimConnection<unknown>): boolean {
    const setup = this.#setups.get(end);
    if (setup === undefined || setup.timer === null) return false;
    if (setup.info.tls && !end.endReceived) return false;
    return this.#handshakeFailed(end);
  }

  setupFailed(end: SimConnection<unknown>, _error: NetError): boolean {
    const setup = this.#setups.get(end);
    if (setup !== undefined) this.#forgetHandshake(end, true);
    this.#setups.delete(end);
    return false;
  }

  closed(_end: SimConnection<unknown>): void {
    this.connections--;
  }

  #accept(end: SimConnection<unknown>, setup: Setup): boolean {
    if (this.connections + this.#handshakes >= this.#options.connectionsMax) {
      this.refused++;
      this.#setups.delete(end);
      end.dismiss("orderly");
      return true;
    }
    if (this.#tls === undefined) return this.#open(end);
    this.#handshakes++;
    setup.tls = this.#tls;
    const at = this.#world.kernel.now +
      ticksFromMs(this.#options.handshakeMs ?? handshakeMsDefault);
    setup.timer = this.#world.kernel.at(at, handshakeExpired, { listener: this, end }, null);
    if (!setup.info.tls) return true;
    const message: HandshakeMessage = { step: "server", certificate: this.#tls.certificate };
    end.out.send(PacketKind.handshake, message);
    return true;
  }

  #open(end: SimConnection<unknown>): boolean {
    const setup = this.#setups.get(end)!;
    if (setup.timer !== null) this.#forgetHandshake(end, false);
    this.#setups.delete(end);
    this.connections++;
    end.state = this.#options.state(end.peer);
    end.opened();
    return true;
  }

  #handshakeFailed(end: SimConnection<unknown>): boolean {
    this.#forgetHandshake(end, true);
    this.#setups.delete(end);
    end.dismiss("orderly");
    return true;
  }

  #forgetHandshake(end: SimConnection<unknown>, failed: boolean): void {
    const setup = this.#setups.get(end);
    if (setup === undefined || setup.timer === null) return;
    this.#world.kernel.cancel(setup.timer);
    setup.timer = null;
    this.#handshakes--;
    if (failed) this.handshakesFailed++;
  }

  /** Bytes or silence where a handshake should be. */
  expire(end: SimConnection<unknown>): boolean {
    if (!this.#setups.has(end) || this.process.dead) return false;
    return this.#handshakeFailed(end);
  }
}

function handshakeExpired(
  { listener, end }: { listener: SimListener<unknown>; end: SimConnection<unknown> },
): boolean {
  return listener.expire(end);
}
