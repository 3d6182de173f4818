/**
 * One call on one connection, as both sides see it. A unary call is only the few fields of
 * {@link Call}; what streaming needs hangs on {@link Flow}, made when there is a stream or a frame
 * has to wait.
 */
import type { Deadline } from "./deadlines.ts";
import type { Slab } from "./slab.ts";

/** The four kinds, as bits: 1 the client streams, 2 the server streams. */
export const CallKind = { unary: 0, clientStreaming: 1, serverStreaming: 2, bidi: 3 } as const;
export type CallKind = (typeof CallKind)[keyof typeof CallKind];

/** What each queued message counts beside its bytes, so that empty messages are bounded too. */
export const messageOverheadBytes = 32;

/** A frame that waits for room in the output or for the peer's credit. */
export interface QueuedFrame {
  readonly type: number;
  readonly flags: number;
  readonly data: Uint8Array;
}

/** First in, first out; taking is constant time. */
export class Queue<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** The next item, which stays. */
  peek(): T | undefined {
    return this.#items[this.#head];
  }

  take(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length) this.clear();
    else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }
}

/** The queues and credits of a call that streams. */
export class Flow {
  /** Messages that arrived and nobody took yet. */
  readonly inbox: Queue<Uint8Array> = new Queue();
  inboxBytes = 0;
  /** Memory of the messages that wait behind another one. */
  slab: Slab | undefined = undefined;
  /** Frames that wait; always empty while frames go straight to the output. */
  readonly outbox: Queue<QueuedFrame> = new Queue();
  outboxBytes = 0;
  /** The peer sends nothing more; what is in the inbox is the rest. */
  ended = false;
  /** A reader waits: tell it about the next message or the end. */
  wantsMessage = false;
  /** A producer waits: tell it when the outbox is empty. */
  wantsRoom = false;
  /** In the ring of calls that may write as soon as the output has room. */
  inRing = false;
  /** Bytes that the peer still allows to be sent; Infinity without the extensions. */
  sendCredit = Infinity;
  /** Bytes taken by the reader since the last credit that was granted. */
  takenBytes = 0;
  /** When a message was last taken; -Infinity before the first. */
  lastTakeMs = -Infinity;
  /** The inbox went above its limit; the connection judges it when the chunk ends. */
  overfull = false;
  /** It still was when the chunk before ended: its reader had a turn and did not keep up. */
  overfullBefore = false;
  /** The reader has left: messages that still come are dropped. */
  discarding = false;
}

export class Call implements Deadline {
  /** Zero until the request is on its way. */
  id = 0;
  readonly kind: CallKind;
  deadlineMs = Infinity;
  deadlineIndex = -1;
  /** Nothing more is exchanged on this call; it is in no table. */
  over = false;
  /** This side has sent its last frame, or has queued it. */
  localClosed = false;
  flow: Flow | undefined = undefined;
  /** Belongs to the driver. */
  app: unknown = undefined;

  constructor(kind: CallKind) {
    this.kind = kind;
  }
}
