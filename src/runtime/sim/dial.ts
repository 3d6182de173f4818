/** One `connect`: the dialling half of a connection's setup. */
import { type Address, formatAddress } from "../../base/address.ts";
import { type Connection, type ConnectOptions, NetError, type Peer } from "../port.ts";
import { type Establisher, SimConnection } from "./connection.ts";
import type { SimEvent } from "./event_queue.ts";
import { Flow, type Packet, PacketKind } from "./flow.ts";
import { helloBytes, verifyCertificate } from "./identity.ts";
import type { EstablishedMessage, HandshakeMessage, SimListener } from "./listener.ts";
import type { SimMachine } from "./machine.ts";
import type { SimProcess } from "./process.ts";
import { ticksFromMs } from "./time.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

const synBytes = 60;
/** A lost first packet is sent again after this, then after twice as long, and so on. */
const retryMsFirst = 1000;

/** Where a dial goes; `find` asks the target's kernel when the first packet is there. */
export interface DialTarget {
  readonly machine: SimMachine;
  readonly peer: Peer;
  /** The peer as the listener sees it. */
  readonly seen: Peer;
  find(): SimListener<unknown> | undefined;
}

export class Dial<S> implements Establisher {
  readonly #world: World;
  readonly #process: SimProcess;
  readonly #options: ConnectOptions<S>;
  readonly #target: DialTarget;
  readonly #resolve: (connection: Connection<S>) => void;
  readonly #reject: (error: NetError) => void;
  readonly #done: () => void;
  #settled = false;
  #end: SimConnection<S> | undefined;
  /** Waits for the listener's certificate. */
  #handshaking = false;
  #timer: SimEvent;
  #retryMs = retryMsFirst;
  #onAbort: (() => void) | undefined;

  /** `done` runs once, when the dial is no longer in flight. */
  constructor(world: World, process: SimProcess, options: {
    connect: ConnectOptions<S>;
    target: DialTarget;
    resolve: (connection: Connection<S>) => void;
    reject: (error: NetError) => void;
    done: () => void;
  }) {
    this.#world = world;
    this.#process = process;
    this.#options = options.connect;
    this.#target = options.target;
    this.#resolve = options.resolve;
    this.#reject = options.reject;
    this.#done = options.done;
    const at = process.machine.clock.ticksAfter(options.connect.timeoutMs);
    this.#timer = world.kernel.at(at, runTimeout, this as Dial<unknown>, process);
    const signal = options.connect.signal;
    if (signal !== undefined) {
      this.#onAbort = () =>
        this.#fail(new NetError("aborted", "the dial was aborted", signal.reason));
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    this.#sendFirst();
  }

  timedOut(): boolean {
    this.#fail(new NetError("timeout", `no connection after ${this.#options.timeoutMs} ms`));
    return true;
  }

  /** The first packet is on its way to the target's kernel. */
  #sendFirst(): void {
    const link = this.#world.network.link(this.#process.machine, this.#target.machine);
    link.send({ bytes: synBytes, notBefore: 0 }, firstLeft, this as Dial<unknown>);
  }

  /** Called when the first packet is past what limits the link's speed. */
  firstLeft(arrival: number): void {
    this.#world.kernel.at(arrival, runFirst, this as Dial<unknown>, null);
  }

  /** Called when the first packet arrives, or fails to. */
  firstArrived(): boolean {
    if (this.#settled || this.#process.dead) return false;
    const { kernel, network, coverage } = this.#world;
    const there = network.link(this.#process.machine, this.#target.machine);
    const back = network.link(this.#target.machine, this.#process.machine);
    if (!there.passable || !back.passable) {
      coverage.fault("dialRetry");
      kernel.at(kernel.now + ticksFromMs(this.#retryMs), runRetry, this as Dial<unknown>, null);
      this.#retryMs *= 2;
      return false;
    }
    const listener = this.#target.find();
    if (listener === undefined) {
      back.send({ bytes: synBytes, notBefore: 0 }, refusalLeft, this as Dial<unknown>);
      return false;
    }
    const end = new SimConnection<S>(this.#world, {
      process: this.#process,
      peer: this.#target.peer,
      state: this.#options.state,
      handler: this.#options.handler,
      establisher: this,
    });
    this.#end = end;
    const far = listener.newEnd({
      peer: this.#target.seen,
      pid: this.#process.pid,
      tls: this.#options.tls !== undefined,
    });
    joinEnds(this.#world, end as SimConnection<unknown>, far);
    const message: EstablishedMessage = { secure: listener.secure };
    far.out.send(PacketKind.established, message);
    return false;
  }

  /** Called when the refusal is past what limits the link's speed. */
  refusalLeft(arrival: number): void {
    this.#world.kernel.at(arrival, runRefused, this as Dial<unknown>, this.#process);
  }

  /** Called by the event of another try. */
  retry(): boolean {
    if (!this.#settled && !this.#process.dead) this.#sendFirst();
    return false;
  }

  refused(): boolean {
    if (this.#process.park(runRefused, this as Dial<unknown>)) return false;
    const where = formatAddress(this.#options.address);
    this.#fail(new NetError("refused", `nobody listens on ${where}`));
    return true;
  }

  setup(end: SimConnection<unknown>, packet: Packet): boolean {
    const tls = this.#options.tls;
    if (packet.kind === PacketKind.established) {
      const { secure } = packet.message as EstablishedMessage;
      end.out.send(PacketKind.accept);
      if (tls === undefined) return this.#open();
      this.#handshaking = true;
      // A listener without TLS takes the handshake for data and never answers it.
      if (!secure) end.out.sendData(helloBytes(tls.certificate));
      return false;
    }
    const message = packet.message as HandshakeMessage;
    if (message.step === "alert") {
      // As in TLS 1.3 the listener's refusal may come after the dialler's `open`.
      const error = new NetError("tls", `refused by the peer: ${message.reason}`);
      if (this.#settled) return end.fail(error);
      this.#fail(error);
      return true;
    }
    if (message.step !== "server" || tls === undefined) return false;
    const verdict = verifyCertificate(tls, message.certificate, {
      wallMs: this.#process.machine.wallMs(),
      serverName: tls.serverName ?? hostOf(this.#options.address),
    });
    this.#world.trace.record(
      TraceKind.verifyPeer,
      this.#process.machine.index,
      end.id,
      verdict.kind === "verified" ? 1 : 0,
    );
    if (verdict.kind === "rejected") {
      const alert: HandshakeMessage = { step: "alert", reason: verdict.reason };
      end.out.send(PacketKind.handshake, alert);
      this.#fail(new NetError("tls", verdict.reason));
      return true;
    }
    const answer: HandshakeMessage = { step: "client", certificate: tls.certificate };
    end.out.send(PacketKind.handshake, answer);
    end.peer = { ...end.peer, certificate: verdict.certificate };
    return this.#open();
  }

  early(_end: SimConnection<unknown>): boolean {
    if (!this.#handshaking) return false;
    this.#fail(new NetError("tls", "the peer does not speak TLS or ended the handshake"));
    return true;
  }

  setupFailed(_end: SimConnection<unknown>, error: NetError): boolean {
    if (this.#settled) return false;
    const failure = { dial: this as Dial<unknown>, error };
    this.#world.kernel.post(runSetupFailed, failure, this.#process);
    return false;
  }

  /** Called by the event of a setup that was reset. */
  failLater(error: NetError): boolean {
    this.#fail(this.#handshaking ? new NetError("tls", error.message, error) : error);
    return true;
  }

  closed(_end: SimConnection<unknown>): void {}

  #open(): boolean {
    if (this.#settled) return false;
    this.#settle();
    this.#end!.opened();
    this.#resolve(this.#end!);
    return true;
  }

  #fail(error: NetError): void {
    if (this.#settled || this.#process.dead) return;
    this.#settle();
    this.#end?.dismiss("reset");
    this.#world.trace.record(TraceKind.dialFailed, this.#process.machine.index, 0);
    this.#reject(error);
  }

  #settle(): void {
    this.#settled = true;
    this.#world.kernel.cancel(this.#timer);
    if (this.#onAbort !== undefined) {
      this.#options.signal!.removeEventListener("abort", this.#onAbort);
    }
    this.#done();
  }
}

function joinEnds(world: World, a: SimConnection<unknown>, b: SimConnection<unknown>): void {
  const there = world.network.link(a.process.machine, b.process.machine);
  const back = world.network.link(b.process.machine, a.process.machine);
  a.other = b;
  b.other = a;
  a.out = new Flow(world, there, { source: a, target: b });
  b.out = new Flow(world, back, { source: b, target: a });
  a.out.opposite = b.out;
  b.out.opposite = a.out;
}

/** The name that a certificate must carry when the options name none. */
function hostOf(address: Address): string | undefined {
  return address.kind === "tcp" ? address.host : undefined;
}

function firstLeft(dial: Dial<unknown>, arrival: number): void {
  dial.firstLeft(arrival);
}

function refusalLeft(dial: Dial<unknown>, arrival: number): void {
  dial.refusalLeft(arrival);
}

function runFirst(dial: Dial<unknown>): boolean {
  return dial.firstArrived();
}

function runRetry(dial: Dial<unknown>): boolean {
  return dial.retry();
}

function runRefused(dial: Dial<unknown>): boolean {
  return dial.refused();
}

function runTimeout(dial: Dial<unknown>): boolean {
  return dial.timedOut();
}

function runSetupFailed({ dial, error }: { dial: Dial<unknown>; error: NetError }): boolean {
  return dial.failLater(error);
}
