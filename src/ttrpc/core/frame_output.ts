/** Frames on their way out of a connection, in the order in which they are written here. */
import { frameHeaderBytes, writeHeader } from "./frame.ts";
import type { ConnectionLimits, LimitName } from "./limits.ts";
import { type BufferPool, Output } from "./output.ts";
import { RoomQueue } from "./room.ts";
import { copyInto } from "./wire.ts";

/** Frames go straight to the output while it holds less than this, or than the queue's limit. */
export const outputHighWater = 256 << 10;

/** The part of a connection that turns frames into bytes, and counts what waits for its turn. */
export abstract class FrameOutput<C> {
  readonly output: Output;
  protected readonly limits: ConnectionLimits;
  /** Frames wait in their outboxes above this; a small queue limit makes it small too. */
  protected readonly highWater: number;
  /** Calls whose outbox may be written, in turn. */
  protected ring: C[] | undefined = undefined;
  /** Calls whose producers wait for room. */
  protected room: RoomQueue<C> | undefined = undefined;
  protected queuedBytes = 0;
  protected queuedMessages = 0;

  constructor(limits: ConnectionLimits, pool: BufferPool) {
    this.limits = limits;
    this.highWater = Math.min(outputHighWater, limits.queueBytesMax);
    this.output = new Output(pool);
  }

  get messageBytesMax(): number {
    return this.limits.messageBytesMax;
  }

  /** Bytes of frames that wait for room in the output or for credit. */
  get outboxBytes(): number {
    return this.queuedBytes;
  }

  /** The number of those frames. */
  get outboxMessages(): number {
    return this.queuedMessages;
  }

  /** Whether a call's next frame would go straight to the output. */
  protected get hasRoom(): boolean {
    return this.output.queuedBytes < this.highWater && this.ring === undefined;
  }

  /** Whether the outboxes may take one more frame of this size. */
  protected mayQueue(bytes: number, share = 1): boolean {
    return this.queuedMessages < this.limits.queueMessagesMax * share &&
      this.queuedBytes + bytes <= this.limits.queueBytesMax * share;
  }

  /** Whether a call may have this much room now; otherwise it waits in the queue given. */
  protected admit(room: RoomQueue<C> | undefined, call: C, bytes: number): boolean {
    const told = room?.take(call) ?? false;
    if ((told || !room?.anyWaits) && this.fits(call, bytes)) return true;
    this.limitHit("connection_queue");
    (room ?? (this.room = new RoomQueue())).wait(call, bytes);
    return false;
  }

  /** Writes a frame now, whatever waits: for answers that belong to no queue. */
  protected writeFrame(
    streamId: number,
    type: number,
    flags: number,
    data: Uint8Array,
    start = 0,
    end: number = data.length,
  ): void {
    if (this.output.queuedBytes > this.limits.queueBytesMax * 2 + this.output.largestBytes) {
      this.limitHit("connection_queue");
      this.broken("the peer does not read what it is sent");
      return;
    }
    const at = this.output.reserve(frameHeaderBytes + end - start);
    writeHeader(this.output.bytes, at, end - start, streamId, type, flags);
    copyInto(this.output.bytes, at + frameHeaderBytes, data, start, end);
  }

  /** Whether there is room for this much of a call, were it alone. */
  protected abstract fits(call: C, bytes: number): boolean;
  /** The connection cannot go on. */
  protected abstract broken(reason: string): void;
  protected abstract limitHit(limit: LimitName): void;
}
