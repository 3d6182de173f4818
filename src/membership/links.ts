/**
 * The streams to other members, one for each pair, found by the address of the other side. A link that
 * is wanted is dialled again and again; one that a member dialled is kept while the member keeps it.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Identity } from "../base/identity.ts";
import { identityProblem } from "../base/speaks_for.ts";
import { Membership } from "../gen/covey/membership/v1/membership_pb.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { PeerLink } from "../ttrpc/peer_link.ts";
import type { FactsMessage } from "./core/facts.ts";
import type { MembersCounters } from "./counters.ts";
import type { Member } from "./core/member.ts";
import type { Message } from "./core/message.ts";
import { type HelloFacts, helloProblem, makeHello } from "./hello.ts";
import {
  decodeFacts,
  decodeMessage,
  encodeFacts,
  encodeMessage,
  type Frame,
  type FrameInit,
  type Hello,
} from "./wire.ts";

/** What may wait for one stream: some views. */
const queueBytesMax = 8 << 20;
/** What a frame counts in that, where its size does not matter. */
const frameBytes = 64;
/** Links that others dialled, whoever they are: as many as a large view has observers, and more. */
const strangersMax = 256;

export interface LinksOwner {
  nowMs(): number;
  readonly counters: MembersCounters;
  /** What this node says of itself; undefined while it says nothing to anybody. */
  facts(): HelloFacts | undefined;
  channel(address: string): Channel;
  /** Who it is that answers, or dialled. */
  greeted(address: string, hello: Hello): void;
  linked(address: string): void;
  unlinked(address: string, why: unknown): void;
  probed(address: string, probe: ProbeFrame): void;
  answered(address: string, probe: ProbeFrame): void;
  received(address: string, message: Message): void;
  /** The record of somebody who wants to join, if it is known here. */
  joinerOf(incarnation: bigint): Member | undefined;
  told(address: string, message: FactsMessage): void;
}

export type ProbeFrame = NonNullable<Frame["probe"]>;

type MemberLink = PeerLink<FrameInit, Frame, Hello>;

interface Peer {
  readonly address: string;
  readonly link: MemberLink;
  channel: Channel | undefined;
  isUp: boolean;
}

export class Links {
  readonly #owner: LinksOwner;
  readonly #peers = new Map<string, Peer>();
  #wanted: ReadonlySet<string> = new Set();
  #isClosed = false;

  constructor(owner: LinksOwner) {
    this.#owner = owner;
    owner.counters.linksUp = () => this.up;
  }

  /** Links that are up. */
  get up(): number {
    let count = 0;
    for (const { isUp } of this.#peers.values()) if (isUp) count++;
    return count;
  }

  /** With whom there are to be links from now on; the others' end unless the others want them. */
  want(addresses: readonly string[]): void {
    this.#wanted = new Set(addresses);
    this.dial();
    for (const [address, peer] of [...this.#peers]) {
      if (this.#wanted.has(address) || peer.isUp) continue;
      this.#close(peer);
    }
  }

  /** Dials whom there is no link with, as far as it is time for that. */
  dial(): void {
    if (this.#owner.facts() === undefined) return;
    for (const address of this.#wanted) this.#peer(address).link.connect();
  }

  isUp(address: string): boolean {
    return this.#peers.get(address)?.isUp === true;
  }

  send(address: string, message: Message): void {
    const frame = encodeMessage(message);
    this.#peers.get(address)?.link.send(frame, frameBytes);
  }

  tell(address: string, message: FactsMessage): void {
    this.#peers.get(address)?.link.send(encodeFacts(message), frameBytes);
  }

  probe(address: string, probe: FrameInit["probe"]): void {
    this.#owner.counters.probesSent++;
    this.#peers.get(address)?.link.send({ probe }, frameBytes);
  }

  answer(address: string, answer: FrameInit["answer"]): void {
    this.#peers.get(address)?.link.send({ answer }, frameBytes);
  }

  /** A stream that another node dialled. Throws when it is not to be talked to. */
  async accept(
    frames: AsyncIterable<Frame>,
    identity: Identity,
  ): Promise<AsyncIterator<FrameInit>> {
    const iterator = frames[Symbol.asyncIterator]();
    const first = await iterator.next();
    const facts = this.#owner.facts();
    if (facts === undefined || this.#isClosed) {
      throw new CoveyError(Code.unavailable, "the node is no member of a cluster", { sent: false });
    }
    const hello = first.done === true ? undefined : first.value.hello;
    if (hello === undefined) {
      throw new CoveyError(Code.invalidArgument, "a stream between members begins with a hello");
    }
    const problem = helloProblem(facts, hello) ?? identityProblem(identity, hello.nodeId);
    if (problem !== undefined) throw problem;
    const { address } = hello;
    if (!this.#peers.has(address) && this.#peers.size >= strangersMax + this.#wanted.size) {
      throw new CoveyError(Code.resourceExhausted, "too many nodes have links to this one");
    }
    const peer = this.#peer(address);
    const rest = { [Symbol.asyncIterator]: () => iterator };
    return peer.link.accept(first.value, rest, () => void iterator.return?.());
  }

  close(): void {
    this.#isClosed = true;
    for (const peer of [...this.#peers.values()]) this.#close(peer);
  }

  #close(peer: Peer): void {
    this.#peers.delete(peer.address);
    peer.link.close();
    peer.channel?.close();
  }

  #peer(address: string): Peer {
    const known = this.#peers.get(address);
    if (known !== undefined) return known;
    const owner = this.#owner;
    const facts = (): HelloFacts => {
      const found = owner.facts();
      if (found !== undefined) return found;
      throw new CoveyError(Code.unavailable, "the node is no member of a cluster");
    };
    const peer: Peer = {
      address,
      channel: undefined,
      isUp: false,
      link: new PeerLink<FrameInit, Frame, Hello>({
        queueBytesMax: () => queueBytesMax,
        prefersOwn: facts().address < address,
        keepsOrder: true,
        nowMs: () => owner.nowMs(),
        greeting: () => ({ hello: makeHello(facts()) }),
        helloProblem: (hello) => helloProblem(facts(), hello),
        dial: (outgoing, signal) => {
          peer.channel ??= owner.channel(address);
          return createClient(Membership, peer.channel).link(outgoing, { signal });
        },
        received: (frame) => this.#received(peer, frame),
        opened: () => this.#opened(peer),
        lost: (error) => this.#lost(peer, error),
      }),
    };
    this.#peers.set(address, peer);
    return peer;
  }

  #opened(peer: Peer): void {
    peer.isUp = true;
    this.#owner.linked(peer.address);
  }

  #lost(peer: Peer, error: unknown): void {
    const wasUp = peer.isUp;
    peer.isUp = false;
    if (!this.#wanted.has(peer.address) && this.#peers.get(peer.address) === peer) {
      this.#close(peer);
    }
    if (wasUp) this.#owner.unlinked(peer.address, error);
  }

  #received(peer: Peer, frame: Frame): void {
    const { address } = peer;
    if (frame.hello !== undefined) this.#owner.greeted(address, frame.hello);
    if (frame.probe !== undefined) this.#owner.probed(address, frame.probe);
    if (frame.answer !== undefined) {
      this.#owner.counters.probesAnswered++;
      this.#owner.answered(address, frame.answer);
    }
    const facts = decodeFacts(frame);
    if (facts === "invalid") this.#invalid();
    else if (facts !== undefined) this.#owner.told(address, facts);
    const message = decodeMessage(frame, (incarnation) => this.#owner.joinerOf(incarnation));
    if (message === "invalid") this.#invalid();
    else if (message !== undefined) this.#owner.received(address, message);
  }

  #invalid(): void {
    this.#owner.counters.framesInvalid++;
  }
}
