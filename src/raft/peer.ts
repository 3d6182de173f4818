/**
 * Another node of the cluster: its links, what waits to be sent to it, how far away it is. Frames
 * gather during one turn of the host and go out together, so that the heartbeats of all groups to
 * one node are one frame.
 */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import {
  type Frame,
  type Hello,
  type HelloSchema,
  Transport,
} from "../gen/covey/raft/v1/transport_pb.ts";
import { CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import { NetError } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { PeerLink } from "../ttrpc/peer_link.ts";
import type { Client } from "../ttrpc/service.ts";
import type { RaftCounters } from "./counters.ts";
import { type Message, MessageType } from "./core/types.ts";
import { Estimate } from "./estimate.ts";
import { encodeMessage, type FrameInit, type MessageInit } from "./wire.ts";

/** Which link a message belongs on: appends and their answers must never delay the rest. */
export type LinkKind = "control" | "log";

type RaftLink = PeerLink<FrameInit, Frame, Hello>;

/** Silence on a control link after which it is cut and dialled anew. */
const silenceMs = 4_000;
/** A control link that has nothing to say says so this often, which measures the round trip. */
const pingMs = 1_000;
/** What a message costs beside its entries, in the queues' bounds. */
const messageBytes = 64;
/** A frame that has so much is sent. */
const frameBytes = 64 << 10;

/** A dial that came to nothing while the node was heard for so long tells of a wrong address. */
const missedMs = 2_000;

/** How a link was lost. */
export interface LinkLoss {
  /** It was up; otherwise it could not be dialled, or took no more. */
  readonly wasOpen: boolean;
  /** Nobody listens at the address any more. */
  readonly refused: boolean;
}

export interface PeerOwner {
  readonly counters: RaftCounters;
  readonly logger: Logger;
  nowMs(): number;
  hello(peerId: string): MessageInitShape<typeof HelloSchema>;
  helloProblem(peer: Peer, hello: Hello): Error | undefined;
  /** A managed connection, for one purpose. */
  channel(address: string): Channel;
  received(peer: Peer, frame: Frame, kind: LinkKind): void;
  /** Messages to it are lost. */
  lost(peer: Peer, kind: LinkKind, why: LinkLoss): void;
  /** Whether this node's disk is nearly full. */
  readonly lowSpace: boolean;
  /** What may wait for one link. */
  readonly queueBytesMax: number;
}

export class Peer {
  readonly nodeId: string;
  readonly #owner: PeerOwner;
  readonly #links: Readonly<Record<LinkKind, RaftLink>>;
  readonly #gathered: Record<LinkKind, MessageInit[]> = { control: [], log: [] };
  readonly #gatheredBytes: Record<LinkKind, number> = { control: 0, log: 0 };
  readonly #channels = new Map<string, { channel: Channel; client: Client<typeof Transport> }>();
  readonly roundTripMs: Estimate = new Estimate();
  name: string;
  /** Its disk is nearly full. */
  lowSpace = false;
  /** What it promises to a leader that reads by its lease; see {@link HelloFacts}. */
  leaseMs = 0;
  /** Drawn by the process that was last heard under this id. */
  instance = 0n;
  #address: string;
  #sentMs = -Infinity;
  /**
   * The shortest round trip since the last tick: after a stall all that waited comes at once, and
   * only the youngest of it tells how long the way is.
   */
  #tripMs = Infinity;
  /** Why it cannot be reached, as it was said last. */
  #complaint = "";
  /** It has dialled this node, and a dial in return came to nothing: since when, and why. */
  #missedSinceMs = Infinity;
  #missedWhy = "";
  /** The address of which that was said. */
  #missedAt = "";
  #echoMicros = 0n;
  #echoAtMs = 0;

  constructor(owner: PeerOwner, self: string, nodeId: string, name: string, address: string) {
    this.#owner = owner;
    this.nodeId = nodeId;
    this.name = name;
    this.#address = address;
    const link = (kind: LinkKind): RaftLink =>
      new PeerLink<FrameInit, Frame, Hello>({
        queueBytesMax: () => owner.queueBytesMax,
        prefersOwn: self < nodeId,
        keepsOrder: kind === "log",
        nowMs: () => owner.nowMs(),
        greeting: () => ({ hello: owner.hello(nodeId) }),
        helloProblem: (hello) => owner.helloProblem(this, hello),
        dial: (outgoing, signal) => this.client(kind)[kind](outgoing, { signal }),
        received: (frame) => this.#received(frame, kind),
        opened: () => this.#complaint = "",
        lost: (error, wasOpen) => {
          if (kind === "control" && !wasOpen) this.#complain(error);
          if (kind === "log" && !wasOpen && this.connected) this.#missed(error);
          owner.lost(this, kind, { wasOpen, refused: isRefused(error) });
        },
      });
    this.#links = { control: link("control"), log: link("log") };
  }

  get address(): string {
    return this.#address;
  }

  /** Whether a control stream is there. */
  get connected(): boolean {
    return this.#links.control.isOpen;
  }

  /** When something was last heard on the control link. */
  get heardMs(): number {
    return this.#links.control.heardMs;
  }

  /** When something was last heard on either link. */
  get lastHeardMs(): number {
    return Math.max(this.#links.control.heardMs, this.#links.log.heardMs);
  }

  /** Of the log link, that wait for it to take them. */
  get queuedBytes(): number {
    return this.#links.log.queuedBytes;
  }

  /** It is reached elsewhere now. */
  move(address: string): void {
    if (address === this.#address || address === "") return;
    this.#address = address;
    this.#closeChannels();
  }

  /** What its hello says of it. */
  said({ instance, name, leaseMillis }: Hello): void {
    this.instance = instance;
    this.name = name;
    this.leaseMs = leaseMillis;
  }

  link(kind: LinkKind): RaftLink {
    return this.#links[kind];
  }

  /** A client on a connection of its own for this purpose. */
  client(purpose: LinkKind | "data"): Client<typeof Transport> {
    return this.#channel(purpose).client;
  }

  channel(purpose: LinkKind | "data"): Channel {
    return this.#channel(purpose).channel;
  }

  /** Gathers a message; {@link flush} sends it. */
  gather(group: number, message: Message): void {
    const kind = message.type === MessageType.append || message.type === MessageType.appendResponse
      ? "log"
      : "control";
    let bytes = messageBytes;
    for (const entry of message.entries) bytes += entry.data.length + 8;
    // A frame stays small, so that one group's bulk is not in front of another's, and a message that
    // fits into a frame has one that it fits into.
    if (this.#gatheredBytes[kind] > 0 && this.#gatheredBytes[kind] + bytes > frameBytes) {
      this.#flush(kind);
    }
    this.#gathered[kind].push(encodeMessage(group, message));
    this.#gatheredBytes[kind] += bytes;
    if (this.#gatheredBytes[kind] >= frameBytes) this.#flush(kind);
  }

  /** Says that a replica of that node was removed from its group. */
  tellRemoved(group: number, replica: number): void {
    this.#send("control", [], 0, [{ group, replica: BigInt(replica) }]);
  }

  flush(): void {
    if (this.#gathered.control.length > 0) this.#flush("control");
    if (this.#gathered.log.length > 0) this.#flush("log");
  }

  /** Time has passed: keeps the control link alive, and notices when it is not. */
  tick(): void {
    const nowMs = this.#owner.nowMs();
    if (this.#tripMs < Infinity) this.roundTripMs.add(this.#tripMs);
    this.#tripMs = Infinity;
    const { control } = this.#links;
    this.#tellMissed(nowMs);
    if (control.stream === undefined) {
      control.connect();
      return;
    }
    if (nowMs - control.heardMs > silenceMs) {
      this.restarted();
      // Their connections may be as dead, which only the kernel does not know yet.
      for (const kind of ["control", "log"] as const) this.#closeChannel(kind);
      return;
    }
    if (nowMs - this.#sentMs >= pingMs) this.#send("control", [], 0);
  }

  /** Another process runs there now, or none: what leads to the old one is void. */
  restarted(): void {
    this.#links.control.reset();
    this.#links.log.reset();
  }

  close(): void {
    this.#links.control.close();
    this.#links.log.close();
    this.#closeChannels();
  }

  #flush(kind: LinkKind): void {
    const messages = this.#gathered[kind];
    const bytes = this.#gatheredBytes[kind];
    this.#gathered[kind] = [];
    this.#gatheredBytes[kind] = 0;
    if (this.#send(kind, messages, bytes)) return;
    this.#owner.counters[kind].messagesDropped += messages.length;
    this.#owner.lost(this, kind, { wasOpen: false, refused: false });
  }

  #send(
    kind: LinkKind,
    messages: MessageInit[],
    bytes: number,
    removed?: FrameInit["removed"],
  ): boolean {
    this.#owner.counters[kind].framesSent++;
    if (kind === "log") return this.#links.log.send({ messages }, bytes);
    const nowMs = this.#owner.nowMs();
    this.#sentMs = nowMs;
    const frame: FrameInit = {
      messages,
      sentMicros: micros(nowMs),
      echoMicros: this.#echoMicros,
      heldMicros: this.#echoMicros === 0n ? 0n : micros(nowMs - this.#echoAtMs),
      lowSpace: this.#owner.lowSpace,
      removed,
    };
    this.#echoMicros = 0n;
    return this.#links.control.send(frame, bytes);
  }

  #received(frame: Frame, kind: LinkKind): void {
    this.#owner.counters[kind].framesReceived++;
    if (kind === "control") {
      const nowMs = this.#owner.nowMs();
      if (frame.sentMicros !== 0n) {
        this.#echoMicros = frame.sentMicros;
        this.#echoAtMs = nowMs;
      }
      if (frame.echoMicros !== 0n) {
        const tookMs = nowMs - Number(frame.echoMicros + frame.heldMicros) / 1000;
        if (tookMs >= 0 && tookMs < 60_000) this.#tripMs = Math.min(this.#tripMs, tookMs);
      }
      this.lowSpace = frame.lowSpace;
    }
    this.#owner.received(this, frame, kind);
  }

  #channel(purpose: string): { channel: Channel; client: Client<typeof Transport> } {
    let known = this.#channels.get(purpose);
    if (known === undefined) {
      const channel = this.#owner.channel(this.#address);
      known = { channel, client: createClient(Transport, channel) };
      this.#channels.set(purpose, known);
    }
    return known;
  }

  #complain(error: unknown): void {
    const why = error === undefined ? "the stream was ended" : CoveyError.from(error).rawMessage;
    if (why === this.#complaint) return;
    this.#complaint = why;
    const { name, address } = this;
    this.#owner.logger.warning("a node cannot be reached", { node: name, address, why });
  }

  #missed(error: unknown): void {
    if (this.#address === this.#missedAt || error === undefined) return;
    this.#missedSinceMs = Math.min(this.#missedSinceMs, this.#owner.nowMs());
    this.#missedWhy = CoveyError.from(error).rawMessage;
  }

  /** Once for each address, when it is heard on and on and still not reached there. */
  #tellMissed(nowMs: number): void {
    if (this.#missedSinceMs === Infinity) return;
    const { control, log } = this.#links;
    // What ended takes its links along; that is said elsewhere.
    if (!this.connected || log.isDialled) this.#missedSinceMs = Infinity;
    else if (Math.min(nowMs, control.heardMs) - this.#missedSinceMs >= missedMs) {
      this.#missedSinceMs = Infinity;
      const { name, address } = this;
      this.#missedAt = address;
      this.#owner.logger.warning(
        "a node is heard, and cannot be reached at the address that it advertises: correct it, or " +
          "let this node through",
        { node: name, address, why: this.#missedWhy },
      );
    }
  }

  #closeChannels(): void {
    for (const purpose of [...this.#channels.keys()]) this.#closeChannel(purpose);
  }

  #closeChannel(purpose: string): void {
    this.#channels.get(purpose)?.channel.close();
    this.#channels.delete(purpose);
  }
}

function micros(ms: number): bigint {
  return BigInt(Math.max(1, Math.round(ms * 1000)));
}

/** The other machine answered that nobody listens: the process there has ended. */
function isRefused(error: unknown): boolean {
  return error instanceof CoveyError && error.cause instanceof NetError &&
    error.cause.kind === "refused";
}
