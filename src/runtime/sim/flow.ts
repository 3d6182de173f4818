/**
 * One direction of a connection, as TCP gives it: nothing is lost, doubled or reordered, what a
 * cut swallows is sent again when the path heals, and the bytes under way are bounded by a window
 * that opens as the receiver reads.
 */
import { assert } from "../../base/assert.ts";
import { Credits } from "./credits.ts";
import type { SimEvent } from "./event_queue.ts";
import type { Link } from "./link.ts";
import { ticksFromMs } from "./time.ts";
import { drawTicks, type World } from "./world.ts";

export const PacketKind = {
  data: 0,
  /** The end of a direction. */
  fin: 1,
  /** Kills the connection. Not sent again when it is lost. */
  reset: 2,
  /** Room in the window, sent as a packet of its own only when it could not pass at once. */
  credit: 3,
  /** The listener's kernel answered the dial. */
  established: 4,
  /** The dialler's kernel completed the connection. */
  accept: 5,
  /** A step of the TLS handshake; `message` says which. */
  handshake: 6,
} as const;

export type PacketKind = (typeof PacketKind)[keyof typeof PacketKind];

export interface Packet {
  readonly kind: PacketKind;
  readonly flow: Flow;
  /** Order within the flow; a reset has none, it passes whatever is missing before it. */
  readonly number: number;
  /** Contents of `data`: writes of the same instant travel together. */
  readonly parts: Uint8Array[];
  /** Bytes of `credit`. */
  readonly bytes: number;
  readonly message: unknown;
}

/** The ends of a flow, called by the network whatever state their processes are in. */
export interface FlowEnd {
  /** A packet is here; says whether code outside the simulator may have run. */
  receive(packet: Packet): boolean;
  /** The window has room again after `blocked` was set. */
  roomAgain(): boolean;
  /** Packets got no answer for the time after which TCP gives up. */
  stalledTooLong(): boolean;
}

const packetOverheadBytes = 60;
/** How soon a writer is woken whose write was only cut short by the fault. */
const partialWriteTicks = 64;
const noParts: Uint8Array[] = [];

export class Flow {
  readonly link: Link;
  readonly source: FlowEnd;
  readonly target: FlowEnd;
  /** The other direction of the same connection. */
  opposite!: Flow;
  /** Bytes taken from the writer that the reader has not been seen to read. */
  outstandingBytes = 0;
  /** The writer waits for room. */
  blocked = false;
  readonly #world: World;
  #numberSent = 0;
  #numberDue = 0;
  /** Packets that a cut let pass before their predecessors, until those are here. */
  #early: Packet[] = [];
  #lastArrival = 0;
  /** The last data packet while later writes of the same instant may still join it. */
  #tail: Packet | null = null;
  #tailSentAt = -1;
  #stalled: Packet[] = [];
  /** Credits of this flow that stall on the opposite one. */
  #creditsStalled = 0;
  #stallTimer: SimEvent | null = null;
  readonly #credits = new Credits();
  #creditTimer: SimEvent | null = null;

  constructor(world: World, link: Link, ends: { source: FlowEnd; target: FlowEnd }) {
    this.#world = world;
    this.link = link;
    this.source = ends.source;
    this.target = ends.target;
  }

  get stalledPackets(): number {
    return this.#stalled.length;
  }

  /** Bytes that fit into the window now. */
  room(): number {
    this.outstandingBytes -= this.#credits.collect(this.#world.kernel.now);
    assert(this.outstandingBytes >= 0, "nothing is read that was not sent");
    return Math.max(0, this.#world.faults.windowBytes - this.outstandingBytes);
  }

  /** Sends bytes that fit; the array belongs to the flow from now on. */
  sendData(bytes: Uint8Array): void {
    this.outstandingBytes += bytes.length;
    const now = this.#world.kernel.now;
    if (this.#tail !== null && this.#tailSentAt === now && !this.link.slow) {
      this.#tail.parts.push(bytes);
      return;
    }
    const packet = this.#packet(PacketKind.data, { parts: [bytes] });
    this.#tail = packet;
    this.#tailSentAt = now;
    this.#sendOrStall(packet);
  }

  send(kind: PacketKind, message?: unknown): void {
    assert(kind !== PacketKind.data, "data goes through sendData");
    this.#sendOrStall(this.#packet(kind, { message }));
  }

  /** The reader took bytes: the writer learns it one latency later. */
  consumed(bytes: number): void {
    const back = this.opposite;
    if (!back.link.passable || back.#stalled.length > 0) {
      this.#creditsStalled++;
      back.#stall(back.#packet(PacketKind.credit, { bytes }));
      return;
    }
    this.#addCredit(this.#world.kernel.now + back.link.latencyTicks, bytes);
  }

  /** The writer waits: wake it when the window has room, or soon if it has room already. */
  awaitRoom(): void {
    this.blocked = true;
    if (this.#creditTimer !== null) return;
    if (this.#hasGoodRoom()) {
      const at = this.#world.kernel.now + partialWriteTicks;
      this.#creditTimer = this.#world.kernel.at(at, creditArrived, this, null);
    } else {
      this.#armCreditTimer();
    }
  }

  /** The writer waits for a machine that lost its power: its probes stay unanswered. */
  probe(): void {
    this.#armStallTimer();
  }

  /** The path may be open again: what stalled is sent again. */
  resend(): void {
    if (!this.link.passable) return;
    const packets = this.#stalled;
    this.#stalled = [];
    this.#world.network.stalled.delete(this);
    if (this.#creditsStalled === 0) this.#clearStallTimer();
    const random = this.#world.network.random.retransmit;
    const delay = drawTicks(random, this.#world.faults.retransmitMs);
    for (const packet of packets) this.#transmit(packet, this.#world.kernel.now + delay);
  }

  /** Forgets what was not sent: the sender's machine lost its power or gave up. */
  drop(): void {
    this.#stalled = [];
    this.#world.network.stalled.delete(this);
    this.#clearStallTimer();
    this.blocked = false;
    if (this.#creditTimer !== null) this.#world.kernel.cancel(this.#creditTimer);
    this.#creditTimer = null;
  }

  #packet(
    kind: PacketKind,
    contents: { parts?: Uint8Array[]; bytes?: number; message?: unknown },
  ): Packet {
    this.#tail = null;
    return {
      kind,
      flow: this,
      number: kind === PacketKind.reset ? -1 : this.#numberSent++,
      parts: contents.parts ?? noParts,
      bytes: contents.bytes ?? 0,
      message: contents.message,
    };
  }

  #sendOrStall(packet: Packet): void {
    if (this.link.passable && this.#stalled.length === 0) this.#transmit(packet, 0);
    else this.#stall(packet);
  }

  #transmit(packet: Packet, notBefore: number): void {
    let bytes = packetOverheadBytes;
    for (const part of packet.parts) bytes += part.length;
    this.link.send({ bytes, notBefore }, packetLeft, packet);
  }

  /** Called when a packet is past what limits the link's speed. */
  left(packet: Packet, arrival: number): void {
    // Paths do not reorder; only what a cut held back can be overtaken.
    this.#lastArrival = Math.max(this.#lastArrival, arrival);
    this.#world.kernel.at(this.#lastArrival, arrive, packet, null);
  }

  /** Called by the event of a packet's arrival. */
  deliver(packet: Packet): boolean {
    if (this.#tail === packet) this.#tail = null;
    if (!this.link.passable || this.#stalled.length > 0) {
      this.#stall(packet);
      return false;
    }
    if (packet.number > this.#numberDue) {
      this.#early.push(packet);
      return false;
    }
    if (packet.number >= 0) this.#numberDue++;
    if (this.#early.length > 0) this.#takeEarly();
    if (packet.kind !== PacketKind.credit) return this.target.receive(packet);
    const forward = this.opposite;
    forward.#creditsStalled--;
    if (forward.#stalled.length === 0 && forward.#creditsStalled === 0) {
      forward.#clearStallTimer();
    }
    forward.#addCredit(this.#world.kernel.now, packet.bytes);
    return false;
  }

  /** The gap before a packet may be closed now: it is the next one to arrive. */
  #takeEarly(): void {
    const index = this.#early.findIndex((packet) => packet.number === this.#numberDue);
    if (index < 0) return;
    const [packet] = this.#early.splice(index, 1);
    this.#world.kernel.post(arrive, packet, null);
  }

  #stall(packet: Packet): void {
    if (packet.kind === PacketKind.reset) return;
    const stalled = this.#world.network.stalled;
    if (!stalled.has(this)) {
      stalled.add(this);
      this.#world.coverage.fault("stall");
    }
    this.#stalled.push(packet);
    // A credit that cannot pass is, for the other side, data without an acknowledgement.
    if (packet.kind === PacketKind.credit) this.opposite.#armStallTimer();
    else this.#armStallTimer();
  }

  #armStallTimer(): void {
    if (this.#stallTimer !== null) return;
    const { kernel, faults } = this.#world;
    const at = kernel.now + ticksFromMs(faults.stallResetMs);
    this.#stallTimer = kernel.at(at, stallExpired, this, null);
  }

  #clearStallTimer(): void {
    if (this.#stallTimer !== null) this.#world.kernel.cancel(this.#stallTimer);
    this.#stallTimer = null;
  }

  /** Called by the timer's event. */
  expire(): boolean {
    this.#stallTimer = null;
    this.drop();
    return this.source.stalledTooLong();
  }

  #addCredit(at: number, bytes: number): void {
    this.#credits.add(at, bytes);
    if (this.blocked) this.#armCreditTimer();
  }

  #armCreditTimer(): void {
    const at = this.#credits.next;
    if (this.#creditTimer !== null || at === undefined) return;
    this.#creditTimer = this.#world.kernel.at(at, creditArrived, this, null);
  }

  /** A kernel wakes the writer only once a good part of the window is free. */
  #hasGoodRoom(): boolean {
    return this.room() * 4 >= this.#world.faults.windowBytes;
  }

  /** Called by the credit's event. */
  openWindow(): boolean {
    this.#creditTimer = null;
    if (!this.blocked) return false;
    if (this.#hasGoodRoom()) {
      this.blocked = false;
      return this.source.roomAgain();
    }
    this.#armCreditTimer();
    return false;
  }
}

function packetLeft(packet: Packet, arrival: number): void {
  packet.flow.left(packet, arrival);
}

function arrive(packet: Packet): boolean {
  return packet.flow.deliver(packet);
}

function stallExpired(flow: Flow): boolean {
  return flow.expire();
}

function creditArrived(flow: Flow): boolean {
  return flow.openWindow();
}
