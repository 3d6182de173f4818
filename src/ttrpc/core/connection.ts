/**
 * What both ends of a connection share: frames in and out, the queues of its calls, their
 * deadlines, flow control and the extension frames. A pure machine: bytes and times go in by
 * method calls, bytes come out in {@link Connection.output}, and what the driver must know comes
 * out through {@link ConnectionEvents}, called while the method runs.
 *
 * Flow control. A frame goes straight into the output while that is short; otherwise it waits in
 * its call's outbox, and calls take turns, one frame each, as the socket drains. Towards a peer
 * that negotiated the extensions a stream also needs credit. From a peer that did not, nothing can
 * hold back one stream alone: an inbox over its limit fails that stream, unless its reader has
 * been taking messages just now; then the connection stops reading for at most
 * `streamStallMs` (docs/decisions/0003).
 */
import { assert } from "../../base/assert.ts";
import { type Call, CallKind, Flow, messageOverheadBytes } from "./call.ts";
import { Deadlines } from "./deadlines.ts";
import type { Status } from "./envelope.ts";
import {
  type ConnectionEvents,
  type ConnectionLimits,
  exhausted,
  type LimitName,
} from "./limits.ts";
import { fullest, isOverfull, OverfullStreams } from "./overfull.ts";
import { Flag, FrameDecoder, type FrameSink, FrameType, readUint32 } from "./frame.ts";
import { FrameOutput } from "./frame_output.ts";
import type { BufferPool } from "./output.ts";
import { RoomQueue } from "./room.ts";
import { Slab } from "./slab.ts";
import { copyOf } from "./wire.ts";

/** A server stops reading requests while more answers than this wait for the client to read. */
export const outputPauseBytes = 1 << 20;

const none = new Uint8Array(0);
/** Stands for "no calls yet"; nothing is ever put into it. */
const noCalls = new Map<number, never>();

export abstract class Connection<C extends Call> extends FrameOutput<C> implements FrameSink {
  /** Calls in flight by stream id; the shared empty map while there never was one. */
  protected calls: Map<number, C> = noCalls as Map<number, C>;
  protected readonly decoder: FrameDecoder;
  /** The time of the present event. */
  protected nowMs = 0;
  /** Both sides agreed to the extensions. */
  protected agreed = false;
  /** Credit that the peer gives each new stream. */
  protected peerWindowBytes = Infinity;
  protected streamCount = 0;
  readonly #events: ConnectionEvents<C>;
  readonly #slab: Slab;
  // What most connections never need is made when it is needed: thousands of them may be idle.
  #deadlines: Deadlines<C> | undefined = undefined;
  /** Calls whose producers wait for room and have no credit either. */
  #unpaid: RoomQueue<C> | undefined = undefined;
  /** Streams whose reader does not keep up. */
  #overfull: OverfullStreams<C> | undefined = undefined;
  #inboxBytes = 0;
  #broken = false;
  /** When a ping was sent that has no answer yet; -Infinity when none is out. */
  pingSentMs = -Infinity;
  pings = 0;
  pongs = 0;
  /** When the peer was last heard. */
  heardMs = 0;

  constructor(limits: ConnectionLimits, pool: BufferPool, slab: Slab, events: ConnectionEvents<C>) {
    super(limits, pool);
    this.#slab = slab;
    this.#events = events;
    this.decoder = new FrameDecoder(this, limits.messageBytesMax);
  }

  /** Calls in flight. */
  get callCount(): number {
    return this.calls.size;
  }

  /** Bytes of messages that arrived and nobody took yet, overheads included. */
  get inboxBytes(): number {
    return this.#inboxBytes;
  }

  /** Both sides agreed to the extensions. */
  get extended(): boolean {
    return this.agreed;
  }

  /** The driver should not read from the socket now. */
  get wantsPause(): boolean {
    return this.#overfull?.pauses ?? false;
  }

  /** An end of the byte stream now would cut a frame. */
  get inFrame(): boolean {
    return this.decoder.inFrame;
  }

  /** When {@link tick} has something to do next; Infinity when never. */
  get nextTickMs(): number {
    const deadlineMs = this.#deadlines?.nextMs ?? Infinity;
    const overdueMs = this.#overfull?.nextMs ?? Infinity;
    return deadlineMs < overdueMs ? deadlineMs : overdueMs;
  }

  /** Bytes from the socket. */
  receive(chunk: Uint8Array, nowMs: number): void {
    this.nowMs = nowMs;
    this.heardMs = nowMs;
    this.decoder.push(chunk);
    const overfull = this.#overfull;
    if (overfull === undefined) return;
    for (const call of overfull.judge(nowMs, this.agreed)) this.#failOverfull(call);
  }

  /** Time passed: deadlines, and streams that stalled the connection for too long. */
  tick(nowMs: number): void {
    this.nowMs = nowMs;
    const deadlines = this.#deadlines;
    for (let call = deadlines?.take(nowMs); call; call = deadlines?.take(nowMs)) {
      this.deadlinePassed(call);
    }
    for (const call of this.#overfull?.overdue(nowMs) ?? []) this.#failOverfull(call);
  }

  /** The socket took bytes: queued frames may follow. */
  drained(): void {
    while (this.ring !== undefined && this.output.queuedBytes < this.highWater) {
      const turn = this.ring;
      this.ring = undefined;
      for (const call of turn) {
        const flow = call.flow!;
        flow.inRing = false;
        if (call.over) continue;
        if (this.output.queuedBytes < this.highWater) this.#writeQueued(call, flow);
        else this.#enterRing(call, flow);
      }
    }
    this.#feed();
  }

  /**
   * Whether the connection's queue has room for a message of this size. If not its producer keeps
   * it, and asks again when `writable` comes, which it then does unless the call ends before. A
   * peer that is merely slower than its producers fails no call.
   */
  accepts(call: C, bytes: number): boolean {
    // Streams that wait for credit leave half of the queue to those that wait for the socket, and
    // nobody waits behind them.
    const unpaid = call.flow !== undefined && call.flow.sendCredit <= 0;
    return this.admit(unpaid ? this.#unpaid ??= new RoomQueue() : this.room, call, bytes);
  }

  protected override fits(call: C, bytes: number): boolean {
    const { flow } = call;
    const unpaid = flow !== undefined && flow.sendCredit <= 0;
    if (!unpaid && this.hasRoom && (flow === undefined || flow.outbox.length === 0)) return true;
    return this.queuedMessages === 0 || this.mayQueue(bytes, unpaid ? 0.5 : 1);
  }

  /** There may be room for those that wait for it. */
  #feed(): void {
    if (this.#broken || !(this.room?.anyWaits || this.#unpaid?.anyWaits)) return;
    const fits = (call: C, bytes: number): boolean => this.fits(call, bytes);
    const tell = (call: C): void => this.#events.writable(call);
    this.room?.feed(fits, tell);
    this.#unpaid?.feed(fits, tell);
  }

  /**
   * Sends one message of a stream, `data[start, end)`, which is copied. False means that it waits:
   * the producer should too, until `writable`, which then comes for certain unless the call ends
   * before.
   */
  send(call: C, data: Uint8Array, start = 0, end: number = data.length): boolean {
    assert(!call.over && !call.localClosed, "only an open stream is sent on");
    assert(end - start <= this.limits.messageBytesMax, "the driver checked the message's size");
    this.emit(call, FrameType.data, 0, data, start, end);
    const flow = call.flow;
    if (flow === undefined || flow.outbox.length === 0) return true;
    flow.wantsRoom = true;
    return false;
  }

  /** Ends this side of a stream: the one safe close, Data 05, after what is queued. */
  closeSend(call: C): void {
    if (call.over || call.localClosed) return;
    call.localClosed = true;
    this.emit(call, FrameType.data, Flag.remoteClosed | Flag.noData, none);
  }

  /** The next message of a stream; undefined when there is none now. */
  take(call: C, nowMs: number): Uint8Array | undefined {
    const flow = call.flow!;
    const message = flow.inbox.take();
    if (message === undefined) return undefined;
    const cost = message.length + messageOverheadBytes;
    flow.inboxBytes -= cost;
    flow.lastTakeMs = nowMs;
    if (flow.inbox.length === 0) flow.slab = undefined;
    // What an ended call still holds was given back when it left.
    if (call.over) return message;
    this.#inboxBytes -= cost;
    this.#overfull?.took(call, flow);
    if (this.agreed && !flow.ended) {
      flow.takenBytes += cost;
      if (flow.takenBytes * 2 >= this.limits.streamQueueBytesMax) this.#grant(call, flow);
    }
    return message;
  }

  /** The reader will not take any more: what is queued is dropped and its bytes are free. */
  dropInbox(call: C): void {
    const flow = call.flow;
    if (flow === undefined) return;
    if (!call.over) this.#inboxBytes -= flow.inboxBytes;
    flow.inbox.clear();
    flow.inboxBytes = 0;
    flow.wantsMessage = false;
    flow.discarding = true;
    this.#overfull?.forget(call, flow);
  }

  /** Asks for a sign of life; only on an extended connection. Of several the first is judged. */
  ping(nowMs: number): void {
    assert(this.agreed, "pings are sent to peers that agreed to them");
    if (this.pingSentMs === -Infinity) this.pingSentMs = nowMs;
    this.pings++;
    this.writeFrame(1, FrameType.ping, 0, none);
  }

  /** Nothing has happened for a while: gives back what an idle connection does not need. */
  rest(): void {
    if (this.calls.size === 0) this.calls = noCalls as Map<number, C>;
    if (this.#deadlines?.size === 0) this.#deadlines = undefined;
    if (this.callCount === 0) this.room = this.#unpaid = undefined;
  }

  /** The connection is gone: every call fails once, with the same status. */
  close(status: Status): void {
    this.decoder.stop();
    this.#broken = true;
    for (const call of [...this.calls.values()]) this.fail(call, status);
    this.output.release();
  }

  // -- FrameSink -----------------------------------------------------------------------------

  abstract frame(
    streamId: number,
    type: number,
    flags: number,
    buffer: Uint8Array,
    start: number,
    end: number,
  ): void;

  abstract oversized(streamId: number, type: number, flags: number, length: number): void;

  override broken(reason: string): void {
    if (this.#broken) return;
    this.#broken = true;
    this.decoder.stop();
    this.#events.broken(reason);
  }

  // -- for the two sides ----------------------------------------------------------------------

  /** What becomes of a call whose deadline passed. */
  protected abstract deadlinePassed(call: C): void;
  /** Ends a call with a status; the peer is told as far as the protocol can. */
  protected abstract abandon(call: C, status: Status): void;

  /** The output is not written any more. */
  protected get isBroken(): boolean {
    return this.#broken;
  }

  protected override limitHit(limit: LimitName): void {
    this.#events.limitHit(limit);
  }

  protected addDeadline(call: C): void {
    this.#deadlines ??= new Deadlines();
    this.#deadlines.add(call);
  }

  /** Registers a call under its id. */
  protected enter(call: C): void {
    if (this.calls === noCalls) this.calls = new Map();
    assert(!this.calls.has(call.id), "a stream id is in flight once");
    this.calls.set(call.id, call);
  }

  protected makeFlow(call: C): Flow {
    const flow = new Flow();
    flow.sendCredit = this.agreed ? this.peerWindowBytes : Infinity;
    call.flow = flow;
    // A client's stream counts from here, while its request may still wait for the socket.
    if (call.kind !== CallKind.unary) this.streamCount++;
    return flow;
  }

  /** Takes a call out of every table. Messages that it received stay readable. */
  protected leave(call: C): void {
    if (call.over) return;
    call.over = true;
    call.localClosed = true;
    if (call.id !== 0) this.calls.delete(call.id);
    if (call.deadlineIndex >= 0) this.#deadlines!.remove(call);
    this.room?.leave(call);
    this.#unpaid?.leave(call);
    const flow = call.flow;
    if (flow !== undefined) {
      this.#overfull?.forget(call, flow);
      if (call.kind !== CallKind.unary) this.streamCount--;
      this.#inboxBytes -= flow.inboxBytes;
      this.queuedBytes -= flow.outboxBytes;
      this.queuedMessages -= flow.outbox.length;
      flow.outbox.clear();
      flow.outboxBytes = 0;
    }
    this.#feed();
  }

  /** Takes a call out and tells its driver why. */
  protected fail(call: C, status: Status): void {
    if (call.over) return;
    this.leave(call);
    this.#events.failed(call, status);
  }

  /** A message of a stream arrived. */
  protected deliver(call: C, buffer: Uint8Array, start: number, end: number): void {
    const flow = call.flow!;
    if (flow.discarding) return;
    const cost = end - start + messageOverheadBytes;
    // What waits long must not hold on to the memory of others: a backlog has slabs of its own.
    const slab = flow.inbox.length === 0 ? this.#slab : flow.slab ??= new Slab();
    flow.inbox.push(slab.copy(buffer, start, end));
    flow.inboxBytes += cost;
    this.#inboxBytes += cost;
    if (flow.wantsMessage) {
      flow.wantsMessage = false;
      this.#events.readable(call);
    }
    if (call.over) return;
    if (this.#inboxBytes > this.limits.queueBytesMax) {
      this.limitHit("connection_queue");
      const most = fullest(this.calls.values(), call);
      this.abandon(most, exhausted("the connection's receive queue is full"));
    }
    if (!call.over && !flow.overfull && isOverfull(flow, this.limits, this.agreed)) {
      this.#overfull ??= new OverfullStreams(this.limits);
      this.#overfull.suspect(call);
    }
  }

  /** The peer's side of a stream ended. */
  protected deliverEnd(call: C): void {
    const flow = call.flow!;
    flow.ended = true;
    if (flow.wantsMessage) {
      flow.wantsMessage = false;
      this.#events.readable(call);
    }
  }

  /** Sends a frame of a call in the order of its other frames. */
  protected emit(
    call: C,
    type: number,
    flags: number,
    data: Uint8Array,
    start = 0,
    end: number = data.length,
  ): void {
    let flow = call.flow;
    const length = end - start;
    const free = flow === undefined || flow.outbox.length === 0;
    const credited = type !== FrameType.data || length === 0 && flags !== 0 ||
      flow === undefined || flow.sendCredit > 0;
    if (free && credited && this.hasRoom) {
      this.#write(call, type, flags, data, start, end);
      return;
    }
    if (
      type === FrameType.data && flags === 0 && this.queuedMessages > 0 && !this.mayQueue(length)
    ) {
      this.limitHit("connection_queue");
      this.abandon(call, exhausted("the connection's send queue is full"));
      return;
    }
    flow ??= this.makeFlow(call);
    // A message is its sender's again when this returns: what waits is a copy.
    const own = type === FrameType.data ? copyOf(data, start, end) : data;
    flow.outbox.push({ type, flags, data: own });
    flow.outboxBytes += length;
    this.queuedBytes += length;
    this.queuedMessages++;
    if (credited) this.#enterRing(call, flow);
  }

  /** A frame of the call is about to be written: the client gives it its id here. */
  protected beforeWrite(_call: C): void {}

  /** A terminal frame of the call was written. */
  protected afterLastWrite(_call: C, _type: number): void {}

  /** Frames that only a covey peer sends. Unknown types are ignored. */
  protected extensionFrame(
    streamId: number,
    type: number,
    buffer: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (!this.agreed) return;
    if (type === FrameType.ping) {
      this.writeFrame(1, FrameType.pong, 0, none);
    } else if (type === FrameType.pong) {
      this.pingSentMs = -Infinity;
      this.pongs++;
    } else if (type === FrameType.window && end - start === 4) {
      const call = this.calls.get(streamId);
      if (call?.flow === undefined) return;
      call.flow.sendCredit += readUint32(buffer, start);
      if (call.flow.outbox.length > 0) this.#enterRing(call, call.flow);
      else if (this.#unpaid?.leave(call)) this.#events.writable(call);
      this.drained();
    }
  }

  // -- inside ---------------------------------------------------------------------------------

  #enterRing(call: C, flow: Flow): void {
    if (flow.inRing) return;
    flow.inRing = true;
    this.ring ??= [];
    this.ring.push(call);
  }

  /** Writes one queued frame of a call whose turn it is. */
  #writeQueued(call: C, flow: Flow): void {
    const frame = flow.outbox.peek();
    if (frame === undefined) return;
    const isMessage = frame.type === FrameType.data && frame.flags === 0;
    if (isMessage && flow.sendCredit <= 0) return;
    flow.outbox.take();
    flow.outboxBytes -= frame.data.length;
    this.queuedBytes -= frame.data.length;
    this.queuedMessages--;
    this.#write(call, frame.type, frame.flags, frame.data, 0, frame.data.length);
    if (call.over) return;
    if (flow.outbox.length > 0) this.#enterRing(call, flow);
    else if (flow.wantsRoom) {
      flow.wantsRoom = false;
      this.#events.writable(call);
    }
  }

  #write(
    call: C,
    type: number,
    flags: number,
    data: Uint8Array,
    start: number,
    end: number,
  ): void {
    this.beforeWrite(call);
    const flow = call.flow;
    if (flow !== undefined && type === FrameType.data && flags === 0) {
      flow.sendCredit -= end - start + messageOverheadBytes;
    }
    this.writeFrame(call.id, type, flags, data, start, end);
    if (
      type === FrameType.response || (flags & Flag.remoteClosed) !== 0 && type === FrameType.data
    ) {
      this.afterLastWrite(call, type);
    }
  }

  #grant(call: C, flow: Flow): void {
    const data = new Uint8Array(4);
    data[0] = flow.takenBytes >>> 24;
    data[1] = flow.takenBytes >>> 16;
    data[2] = flow.takenBytes >>> 8;
    data[3] = flow.takenBytes;
    flow.takenBytes = 0;
    this.writeFrame(call.id, FrameType.window, 0, data);
  }

  #failOverfull(call: C): void {
    this.limitHit("stream_queue");
    this.abandon(
      call,
      exhausted("the stream's receive queue is full: its reader does not keep up"),
    );
  }
}
