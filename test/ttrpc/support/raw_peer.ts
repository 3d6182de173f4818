/** A peer that speaks raw bytes over the seam, on either side, and reads frames. */
import assert from "node:assert/strict";
import type { Address } from "../../../src/base/address.ts";
import type { Connection, ConnectionHandler, Listener, Net } from "../../../src/runtime/port.ts";
import { type Frame, frame, FrameParser, request, response, show } from "./frames.ts";
import { within } from "./within.ts";

export class RawPeer {
  connection!: Connection<RawPeer>;
  /** Every frame that came, in order; {@link next} moves a mark over them. */
  readonly frames: Frame[] = [];
  readonly parser: FrameParser = new FrameParser();
  receivedBytes = 0;
  ended = false;
  closed = false;
  #read = 0;
  #rest: Uint8Array[] = [];
  #waiters: (() => void)[] = [];

  /** Queues bytes and writes them as the socket takes them. */
  send(...chunks: readonly Uint8Array[]): void {
    this.#rest.push(...chunks);
    this.pump();
  }

  /** Resolves when all that was sent is in the socket. */
  async flushed(): Promise<void> {
    await this.#until(
      () => this.#rest.length === 0 || this.closed,
      () => "the bytes to be taken",
    );
  }

  /** The next frames that were not returned before. */
  async take(count: number): Promise<Frame[]> {
    await this.#until(
      () => this.frames.length - this.#read >= count || this.closed || this.ended,
      () => {
        const some = this.frames.slice(this.#read, this.#read + 10).map((one) =>
          show(one).slice(0, 80)
        );
        return `${count} frames; there are ${this.frames.length - this.#read}: ${some.join(", ")}`;
      },
    );
    const taken = this.frames.slice(this.#read, this.#read + count);
    assert.equal(taken.length, count, "the connection ended before the frames came");
    this.#read += count;
    return taken;
  }

  async next(): Promise<Frame> {
    return (await this.take(1))[0];
  }

  /** The next Response frame; whatever comes before it is skipped. */
  async response(): Promise<Frame> {
    while (true) {
      const frame = await this.next();
      if (frame.type === 2) return frame;
    }
  }

  /** Plays a covey client: offers, and confirms when the answer is there. */
  async sayHello(): Promise<void> {
    const metadata = [{ key: "covey-extensions", value: "1;window=65536" }];
    this.send(request(1, 0, { service: "grpc.health.v1.Health", method: "Check", metadata }));
    assert.equal((await this.next()).id, 1);
    this.send(frame(1, 5, 0));
  }

  /** Plays a covey server: agrees to what the client offers, which confirms it. */
  async answerHello(): Promise<void> {
    const extensions = { version: 1, windowBytes: 65536 };
    this.send(response((await this.next()).id, { extensions }));
    const confirmation = await this.next();
    assert.deepEqual([confirmation.type, confirmation.id], [5, 1]);
  }

  /** Frames that came and were not taken yet. */
  get untaken(): Frame[] {
    return this.frames.slice(this.#read);
  }

  /** Resolves when the other side ended or closed. */
  async gone(): Promise<void> {
    await this.#until(
      () => this.closed || this.ended,
      () => "the end of the connection",
    );
  }

  async #until(condition: () => boolean, what: () => string): Promise<void> {
    while (!condition()) {
      await within(new Promise<void>((resolve) => this.#waiters.push(resolve)), what);
    }
  }

  pump(): void {
    while (this.#rest.length > 0 && !this.closed) {
      const [first] = this.#rest;
      const taken = first.length === 0 ? 0 : this.connection.write(first);
      if (taken < first.length) {
        this.#rest[0] = first.subarray(taken);
        return;
      }
      this.#rest.shift();
    }
    this.wake();
  }

  wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }
}

const handler: ConnectionHandler<RawPeer> = {
  open(connection) {
    connection.state.connection = connection;
  },
  data(connection, chunk) {
    const peer = connection.state;
    peer.receivedBytes += chunk.length;
    peer.frames.push(...peer.parser.push(chunk));
    peer.wake();
  },
  drain(connection) {
    connection.state.pump();
  },
  end(connection) {
    connection.state.ended = true;
    connection.state.wake();
  },
  close(connection) {
    connection.state.closed = true;
    connection.state.wake();
  },
};

/** A raw client. */
export async function dialRaw(net: Net, address: Address): Promise<RawPeer> {
  const peer = new RawPeer();
  await net.connect({ address, state: peer, timeoutMs: 10_000, handler });
  return peer;
}

/** A raw server: each connection becomes a peer. */
export class RawServer {
  listener!: Listener;
  readonly peers: RawPeer[] = [];
  /** Runs for each new peer, before any of its bytes. */
  onPeer: ((peer: RawPeer) => void) | undefined = undefined;
  #taken = 0;
  #waiters: (() => void)[] = [];

  async listen(net: Net, address: Address): Promise<this> {
    this.listener = await net.listen<RawPeer>({
      address,
      connectionsMax: 1000,
      state: () => new RawPeer(),
      handler: {
        ...handler,
        open: (connection) => {
          handler.open(connection);
          this.peers.push(connection.state);
          this.onPeer?.(connection.state);
          const waiters = this.#waiters;
          this.#waiters = [];
          for (const waiter of waiters) waiter();
        },
      },
    });
    return this;
  }

  get address(): Address {
    return this.listener.address;
  }

  /** The next connection that was not returned before. */
  async accept(): Promise<RawPeer> {
    while (this.peers.length <= this.#taken) {
      const accepted = new Promise<void>((resolve) => this.#waiters.push(resolve));
      await within(accepted, () => "a connection");
    }
    return this.peers[this.#taken++];
  }

  stop(): void {
    this.listener.stop();
    for (const peer of this.peers) if (!peer.closed) peer.connection.abort();
  }
}
