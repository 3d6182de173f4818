/** One end of a stream: what a node sees as its connection, and what the kernel below it does. */
import { assert } from "../../base/assert.ts";
import type { Connection, ConnectionHandler, Peer } from "../port.ts";
import { NetError } from "../port.ts";
import type { EventCallback } from "./event_queue.ts";
import { type Flow, type FlowEnd, type Packet, PacketKind } from "./flow.ts";
import type { SimProcess } from "./process.ts";
import { ReceiveQueue } from "./receive_queue.ts";
import { TraceKind } from "./trace.ts";
import type { World } from "./world.ts";

/** Written over a chunk after its callback, so that whoever kept it reads this. */
export const poisonByte = 0xdb;

/** The message of a reset that answers what came after an orderly close. */
const afterClose = "after close";

/** What sets the connection up until `open`: a dial or a listener. */
export interface Establisher {
  /** A packet of the setup, in the process that owns this end. */
  setup(end: SimConnection<unknown>, packet: Packet): boolean;
  /** Bytes or the end came before it opened. */
  early(end: SimConnection<unknown>): boolean;
  /** The connection ended before it opened. */
  setupFailed(end: SimConnection<unknown>, error: NetError): boolean;
  /** It was open and is not any more. */
  closed(end: SimConnection<unknown>): void;
}

export class SimConnection<S> implements Connection<S>, FlowEnd {
  state: S;
  peer: Peer;
  readonly id: number;
  readonly process: SimProcess;
  /** The flow that this end writes to; set once both ends exist. */
  out!: Flow;
  /** The other end. */
  other!: SimConnection<unknown>;
  readonly #world: World;
  readonly #handler: ConnectionHandler<S>;
  readonly #establisher: Establisher;
  /** `ended` is the state in which the process is done with it; the kernel may still send. */
  #phase: "setup" | "open" | "ended" = "setup";
  readonly #queue: ReceiveQueue;
  #reading = true;
  #readableDue = false;
  /** `pause` may let one callback through that was already due. */
  #oneMore = false;
  #finSent = false;
  #finReceived = false;
  #endDelivered = false;
  /** Its machine lost all memory of it. */
  #vanished = false;
  /** The peer is gone, but what it wrote before has not been read yet. */
  #broken: NetError | undefined;

  constructor(world: World, options: {
    process: SimProcess;
    peer: Peer;
    state: S;
    handler: ConnectionHandler<S>;
    establisher: Establisher;
  }) {
    this.#world = world;
    this.id = world.nextId++;
    this.process = options.process;
    this.peer = options.peer;
    this.state = options.state;
    this.#handler = options.handler;
    this.#establisher = options.establisher;
    this.#queue = new ReceiveQueue(world);
    this.process.connections.add(this as SimConnection<unknown>);
  }

  get phase(): "setup" | "open" | "ended" {
    return this.#phase;
  }

  get endReceived(): boolean {
    return this.#finReceived;
  }

  get unreadBytes(): number {
    return this.#queue.bytes;
  }

  // -------------------------------------------------------------------------------------------
  // What the node calls

  write(bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
    assert(offset >= 0 && length >= 0 && offset + length <= bytes.length, "write within the array");
    if (!this.#writable || length === 0) return 0;
    const { faults, network, coverage, trace } = this.#world;
    let taken = Math.min(length, this.out.room());
    if (taken > 0 && faults.partialWriteChance > 0) {
      if (network.random.partial.chance(faults.partialWriteChance)) {
        taken = network.random.partial.below(taken);
        coverage.fault("partialWrite");
      }
    }
    if (taken < length) this.out.awaitRoom();
    const copy = bytes.slice(offset, offset + taken);
    trace.record(TraceKind.write, this.process.machine.index, this.id, length, copy);
    if (taken > 0) this.out.sendData(copy);
    return taken;
  }

  pause(): void {
    if (!this.#reading || this.#phase !== "open") return;
    this.#reading = false;
    this.#record(TraceKind.pauseReading);
    const { faults, network } = this.#world;
    if (this.#readableDue) this.#oneMore = network.random.split.chance(faults.splitChance);
  }

  resume(): void {
    if (this.#reading || this.#phase !== "open") return;
    this.#reading = true;
    this.#record(TraceKind.resumeReading);
    this.#readableSoon();
  }

  shutdown(): void {
    if (this.#phase !== "open" || this.#finSent || this.process.dead) return;
    this.#record(TraceKind.shutdown);
    this.#sendFin();
    if (this.#endDelivered) this.#finish(undefined);
  }

  close(): void {
    if (this.#phase !== "open" || this.process.dead) return;
    this.#record(TraceKind.closeCall);
    if (!this.#finSent) this.#sendFin();
    this.#finish(undefined);
  }

  abort(): void {
    if (this.#phase !== "open" || this.process.dead) return;
    this.#record(TraceKind.abort);
    this.out.drop();
    this.out.send(PacketKind.reset);
    this.#finish(undefined);
  }

  // -------------------------------------------------------------------------------------------
  // What dial and listener call

  /** The peer is verified: tells the node. Runs in the process. */
  opened(): void {
    assert(this.#phase === "setup", "a connection opens once");
    this.#phase = "open";
    this.#record(TraceKind.open);
    this.#handler.open(this);
    this.#readableSoon();
  }

  /** Ends an end that never opened, without a callback; the peer sees a reset or an orderly end. */
  dismiss(how: "reset" | "orderly"): void {
    if (this.#phase !== "setup") return;
    this.#phase = "ended";
    this.#queue.clear();
    this.process.connections.delete(this as SimConnection<unknown>);
    if (how === "orderly") {
      this.#sendFin();
    } else {
      this.out.drop();
      this.out.send(PacketKind.reset);
    }
  }

  /** The process died while its kernel lives: what the kernel tells the peer. */
  orphan(): void {
    if (this.#phase === "ended") return;
    const reset = this.#phase === "setup" || !this.#queue.isEmpty;
    this.#phase = "ended";
    this.#queue.clear();
    if (reset) {
      this.out.drop();
      this.out.send(PacketKind.reset);
    } else if (!this.#finSent) {
      this.#sendFin();
    }
  }

  /** The machine lost its power: nothing more leaves it. */
  vanish(): void {
    this.#phase = "ended";
    this.#vanished = true;
    this.#queue.clear();
    this.out.drop();
    if (this.other.out.blocked) this.other.out.probe();
  }

  /** A fault or the peer's reset ends it. */
  fail(error: NetError): boolean {
    if (this.#phase === "ended") return false;
    if (this.process.dead) {
      this.#phase = "ended";
      return false;
    }
    this.out.drop();
    if (this.#phase === "setup") {
      this.#phase = "ended";
      this.process.connections.delete(this as SimConnection<unknown>);
      return this.#establisher.setupFailed(this as SimConnection<unknown>, error);
    }
    this.#finish(error);
    return false;
  }

  // -------------------------------------------------------------------------------------------
  // What the network calls

  receive(packet: Packet): boolean {
    const { faults, network, coverage } = this.#world;
    switch (packet.kind) {
      case PacketKind.data:
        if (this.#phase === "ended") {
          this.out.send(PacketKind.reset, this.process.dead ? undefined : afterClose);
          return false;
        }
        if (
          faults.connectionResetChance > 0 &&
          network.random.reset.chance(faults.connectionResetChance)
        ) {
          coverage.fault("connectionReset");
          this.out.send(PacketKind.reset);
          return this.fail(new NetError("reset", "connection reset by a fault"));
        }
        this.#queue.add(packet.parts);
        return this.#phase === "setup" ? this.#inProcess(runEarly) : this.#arrived();
      case PacketKind.fin:
        this.#finReceived = true;
        if (this.#vanished) this.out.send(PacketKind.reset);
        if (this.#phase === "setup") return this.#inProcess(runEarly);
        return this.#phase === "ended" ? false : this.#arrived();
      case PacketKind.reset:
        return this.#reset(packet);
      default:
        return this.#runSetup(packet);
    }
  }

  roomAgain(): boolean {
    if (!this.#writable) return false;
    return this.#inProcess(runDrain);
  }

  stalledTooLong(): boolean {
    this.#world.coverage.fault("stallReset");
    return this.fail(new NetError("timeout", "no answer from the peer's machine"));
  }

  // -------------------------------------------------------------------------------------------
  // Events in the process

  /** Runs now when the process runs, else once it does again. */
  #inProcess(run: EventCallback<this>): boolean {
    const process = this.process;
    if (process.dead) return false;
    if (!process.paused && !process.stuck) return run(this);
    this.#world.kernel.post(run, this, process);
    return false;
  }

  #runSetup(packet: Packet): boolean {
    const process = this.process;
    if (this.#phase === "ended" || process.dead) {
      // Nobody is left who wants this connection.
      this.out.send(PacketKind.reset);
      return false;
    }
    if (!process.paused && !process.stuck) {
      return this.#establisher.setup(this as SimConnection<unknown>, packet);
    }
    this.#world.kernel.post(setupLater, packet, process);
    return false;
  }

  /** Called when something comes before the setup is over. */
  early(): boolean {
    if (this.process.park(runEarly, this)) return false;
    if (this.#phase !== "setup") return false;
    return this.#establisher.early(this as SimConnection<unknown>);
  }

  /** Called by the event of a setup packet that had to wait for its process. */
  setupAfterWait(packet: Packet): boolean {
    if (this.process.park(setupLater, packet)) return false;
    return this.#runSetup(packet);
  }

  get #writable(): boolean {
    return this.#phase === "open" && !this.#finSent && !this.process.dead &&
      this.#broken === undefined;
  }

  /**
   * A peer that closed in order and is written to answers with a reset, too; what it wrote before
   * is delivered all the same, as `close` promises.
   */
  #reset(packet: Packet): boolean {
    const error = new NetError("reset", "connection reset by peer");
    if (packet.message !== afterClose || this.#phase !== "open" || this.#queue.isEmpty) {
      return this.fail(error);
    }
    this.#broken = error;
    this.out.drop();
    return this.#arrived();
  }

  #arrived(): boolean {
    if (this.#readableDue || this.#phase !== "open" || !this.#reading) return false;
    const process = this.process;
    if (process.dead || process.paused || process.stuck) {
      this.#readableSoon();
      return false;
    }
    return this.readable();
  }

  #readableSoon(): void {
    if (this.#readableDue || !this.#somethingToRead()) return;
    this.#readableDue = true;
    this.#world.kernel.post(runReadable, this, this.process);
  }

  #somethingToRead(): boolean {
    return !this.#queue.isEmpty || (this.#finReceived && !this.#endDelivered);
  }

  /** Hands over one chunk, or the end; one callback an event, as the runtimes do it. */
  readable(): boolean {
    if (this.process.park(runReadable, this)) return false;
    this.#readableDue = false;
    if (this.#phase !== "open") return false;
    if (!this.#reading && !this.#oneMore) return false;
    this.#oneMore = false;
    if (!this.#queue.isEmpty) {
      const chunk = this.#queue.take();
      this.#world.trace.record(
        TraceKind.data,
        this.process.machine.index,
        this.id,
        chunk.length,
      );
      this.#handler.data(this, chunk);
      chunk.fill(poisonByte);
      this.out.opposite.consumed(chunk.length);
    } else if (this.#finReceived && !this.#endDelivered) {
      this.#endDelivered = true;
      this.#record(TraceKind.end);
      this.#handler.end(this);
      // The handler may have closed it; a half that was closed before makes it whole now.
      if (this.#finSent && this.#phase === "open") this.#finish(undefined);
      return true;
    }
    if (this.#broken !== undefined && this.#queue.isEmpty) this.fail(this.#broken);
    else if (this.#phase === "open" && this.#reading) this.#readableSoon();
    return true;
  }

  /** Called by the event of `drain`. */
  drained(): boolean {
    if (this.process.park(runDrain, this)) return false;
    if (!this.#writable) return false;
    this.#record(TraceKind.drain);
    this.#handler.drain(this);
    return true;
  }

  /** Called by the event of `close`. */
  closedNow(error: NetError | undefined): boolean {
    this.#record(TraceKind.close);
    this.#establisher.closed(this as SimConnection<unknown>);
    this.#handler.close(this, error);
    return true;
  }

  #sendFin(): void {
    this.#finSent = true;
    this.out.blocked = false;
    this.out.send(PacketKind.fin);
  }

  /** The process is done with it; `close` follows as an event of its own. */
  #finish(error: NetError | undefined): void {
    this.#phase = "ended";
    this.#queue.clear();
    this.process.connections.delete(this as SimConnection<unknown>);
    this.#world.kernel.post(runClose, { end: this as SimConnection<unknown>, error }, this.process);
  }

  #record(kind: TraceKind): void {
    this.#world.trace.record(kind, this.process.machine.index, this.id);
  }
}

interface Closing {
  readonly end: SimConnection<unknown>;
  readonly error: NetError | undefined;
}

function runReadable(end: SimConnection<unknown>): boolean {
  return end.readable();
}

function runEarly(end: SimConnection<unknown>): boolean {
  return end.early();
}

function runDrain(end: SimConnection<unknown>): boolean {
  return end.drained();
}

function runClose(closing: Closing): boolean {
  if (closing.end.process.park(runClose, closing)) return false;
  return closing.end.closedNow(closing.error);
}

function setupLater(packet: Packet): boolean {
  return (packet.flow.target as SimConnection<unknown>).setupAfterWait(packet);
}
