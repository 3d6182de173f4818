/**
 * One kind of link to one node: a stream that carries frames both ways, whoever dialled it.
 *
 * A link dials when it has something to say and no stream. When both sides dialled at the same time
 * there are two streams; both sides then send on the one that the node with the smaller id dialled,
 * and the other is ended by its dialler.
 *
 * A link that keeps the order changes over without overtaking itself: an append that arrives before
 * the one in front of it is refused, and everything behind is sent again, which a thin line takes
 * many seconds for. So its first frame on the other stream waits until the peer has ended the one
 * before, having read all of it; and a side whose own dial is to win waits for that rather than
 * begin on the other. A link that does not keep it says things at once, wherever it can.
 */
import { FrameQueue } from "./frame_queue.ts";

/** What a link carries: the first frame of each side has a hello, in which it says who it is. */
export interface Greeting<Hello> {
  readonly hello?: Hello | undefined;
}

/** After a dial that came to nothing the next one waits, twice as long each time. */
const redialMs = 50;
const redialMsMax = 2_000;
/** A stream that lasted so long is dialled anew at once. */
const lastingMs = 1_000;

/** One stream of a link. */
export interface Stream<Outgoing> {
  readonly dialled: boolean;
  readonly queue: FrameQueue<Outgoing>;
  /** The peer's hello was checked. */
  isOpen: boolean;
  /** When the last frame came, or it was begun, by the monotonic clock. */
  heardMs: number;
  /** Cuts it off. */
  abort(): void;
}

export interface LinkOwner<Outgoing, Incoming extends Greeting<Hello>, Hello> {
  /** The first frame of a stream. */
  greeting(): Outgoing;
  /** Bytes of frames that wait for a stream that does not take them. */
  queueBytesMax(): number;
  /** Whether this node's own dials win over the peer's. */
  readonly prefersOwn: boolean;
  /** Whether no frame may overtake another. */
  readonly keepsOrder: boolean;
  nowMs(): number;
  /** Opens a stream and gives what comes back on it. */
  dial(outgoing: AsyncIterable<Outgoing>, signal: AbortSignal): AsyncIterable<Incoming>;
  /** A frame of a peer whose hello was checked. */
  received(frame: Incoming): void;
  /** Why the peer's hello is not accepted; undefined when it is. */
  helloProblem(hello: Hello): Error | undefined;
  /** A stream is there. */
  opened(): void;
  /** No stream is left (`wasOpen`), or none could be dialled. */
  lost(error: unknown, wasOpen: boolean): void;
}

export class PeerLink<
  Outgoing extends Greeting<unknown>,
  Incoming extends Greeting<Hello>,
  Hello,
> {
  readonly #owner: LinkOwner<Outgoing, Incoming, Hello>;
  #own: Stream<Outgoing> | undefined = undefined;
  #accepted: Stream<Outgoing> | undefined = undefined;
  #closed = false;
  /** Dials since the last stream that was up. */
  #failures = 0;
  #dialAtMs = -Infinity;

  constructor(owner: LinkOwner<Outgoing, Incoming, Hello>) {
    this.#owner = owner;
  }

  /** The stream that is sent on. */
  get stream(): Stream<Outgoing> | undefined {
    const [first, second] = this.#owner.prefersOwn
      ? [this.#own, this.#accepted]
      : [this.#accepted, this.#own];
    // One that is still being dialled may come to nothing.
    const isFirst = first?.isOpen || !second?.isOpen || this.#owner.keepsOrder;
    return isFirst ? first ?? second : second;
  }

  /** Whether the peer was heard on a stream that is still there. */
  get isOpen(): boolean {
    return this.stream?.isOpen === true;
  }

  /** Whether a stream is up that was dialled from here. */
  get isDialled(): boolean {
    return this.#own?.isOpen === true;
  }

  /** When something was last heard; -Infinity when there is no stream. */
  get heardMs(): number {
    return Math.max(this.#own?.heardMs ?? -Infinity, this.#accepted?.heardMs ?? -Infinity);
  }

  /** Bytes of frames that wait for the stream that is sent on. */
  get queuedBytes(): number {
    return this.stream?.queue.bytes ?? 0;
  }

  /** Queues a frame; false when it was dropped. Dials if there is no stream. */
  send(frame: Outgoing, bytes: number): boolean {
    if (this.#closed) return false;
    const stream = this.stream ?? (this.#mayDial ? this.#dial() : undefined);
    if (stream === this.#accepted) this.#settle();
    return stream !== undefined && stream.queue.push(frame, bytes);
  }

  /** Dials if there is no stream, unless it is too soon. */
  connect(): void {
    if (!this.#closed && this.stream === undefined && this.#mayDial) this.#dial();
  }

  /** A stream that the peer dialled, whose first frame has come: gives the frames to answer. */
  accept(
    first: Incoming,
    frames: AsyncIterable<Incoming>,
    abort: () => void,
  ): FrameQueue<Outgoing> {
    const queue = new FrameQueue<Outgoing>(() => this.#owner.queueBytesMax());
    queue.push(this.#owner.greeting(), 0);
    const stream: Stream<Outgoing> = {
      dialled: false,
      queue,
      isOpen: true,
      heardMs: this.#owner.nowMs(),
      abort: () => {
        stream.isOpen = false;
        queue.end();
        abort();
      },
    };
    // Whoever dials again has lost the stream before this one.
    this.#accepted?.abort();
    this.#accepted = stream;
    this.#settle();
    this.#owner.opened();
    this.#owner.received(first);
    void this.#read(stream, frames);
    return queue;
  }

  /** Cuts every stream; the next thing to say dials anew. */
  reset(): void {
    this.#own?.abort();
    this.#accepted?.abort();
  }

  close(): void {
    this.#closed = true;
    this.reset();
  }

  get #mayDial(): boolean {
    return this.#owner.nowMs() >= this.#dialAtMs;
  }

  #dial(): Stream<Outgoing> {
    const queue = new FrameQueue<Outgoing>(() => this.#owner.queueBytesMax());
    queue.push(this.#owner.greeting(), 0);
    const controller = new AbortController();
    const stream: Stream<Outgoing> = {
      dialled: true,
      queue,
      isOpen: false,
      heardMs: this.#owner.nowMs(),
      abort: () => {
        stream.isOpen = false;
        queue.end();
        controller.abort();
      },
    };
    this.#own = stream;
    void this.#readDialled(stream, controller.signal);
    return stream;
  }

  async #readDialled(stream: Stream<Outgoing>, signal: AbortSignal): Promise<void> {
    let problem: unknown;
    let greetedMs = Infinity;
    try {
      for await (const frame of this.#owner.dial(stream.queue, signal)) {
        if (greetedMs === Infinity) {
          problem = frame.hello === undefined
            ? new Error("the first frame has no hello")
            : this.#owner.helloProblem(frame.hello);
          if (problem !== undefined) break;
          greetedMs = this.#owner.nowMs();
          stream.isOpen = true;
          this.#settle();
          this.#owner.opened();
        }
        this.#heard(stream, frame);
      }
    } catch (error) {
      problem = error;
    }
    this.#ended(this.#owner.nowMs() - greetedMs);
    this.#gone(stream, problem, greetedMs !== Infinity);
  }

  /** A dialled stream is over, that long after it was up; -Infinity when it never was. */
  #ended(lastedMs: number): void {
    this.#failures = lastedMs >= 0 ? 0 : this.#failures + 1;
    const waitMs = lastedMs >= lastingMs
      ? 0
      : Math.min(redialMsMax, redialMs * 2 ** Math.max(0, this.#failures - 1));
    this.#dialAtMs = this.#owner.nowMs() + waitMs;
  }

  async #read(stream: Stream<Outgoing>, frames: AsyncIterable<Incoming>): Promise<void> {
    let problem: unknown;
    try {
      for await (const frame of frames) this.#heard(stream, frame);
    } catch (error) {
      problem = error;
    }
    this.#gone(stream, problem, true);
  }

  #heard(stream: Stream<Outgoing>, frame: Incoming): void {
    stream.heardMs = this.#owner.nowMs();
    this.#owner.received(frame);
  }

  /** With two streams, the one that is not sent on is ended by whoever dialled it. */
  #settle(): void {
    if (this.#own === undefined || this.#accepted === undefined || this.#owner.prefersOwn) return;
    if (this.#owner.keepsOrder) this.#accepted.queue.hold();
    this.#own.queue.end();
  }

  #gone(stream: Stream<Outgoing>, problem: unknown, wasOpen: boolean): void {
    const wasRead = stream.queue.ended && problem === undefined;
    const wasOwn = this.#own === stream;
    if (wasOwn) this.#own = undefined;
    if (this.#accepted === stream) this.#accepted = undefined;
    const left = this.stream;
    if (left !== undefined && wasOwn && this.#owner.keepsOrder) {
      this.#handOver(stream, left);
      // What was sent and maybe not read has to be sent again.
      if (!wasRead) this.#owner.lost(problem, wasOpen);
    }
    stream.queue.end();
    if (left === undefined) this.#owner.lost(problem, wasOpen);
  }

  /** What never went out on the one stream is first on the other. */
  #handOver(from: Stream<Outgoing>, to: Stream<Outgoing>): void {
    const unsent = from.queue.take().filter(({ frame }) => frame.hello === undefined);
    const held = to.queue.take();
    to.queue.release();
    for (const { frame, bytes } of [...unsent, ...held]) to.queue.push(frame, bytes);
  }
}
