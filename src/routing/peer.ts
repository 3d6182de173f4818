/**
 * A member as this node calls it: one channel that all clients share, the calls under way, and what
 * becomes of both when the member leaves.
 */
import type { DescMethod, DescService, Message } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Timer } from "../runtime/port.ts";
import type { Channel, Waiter } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import type { CallOptions } from "../ttrpc/service.ts";
import type { Candidate } from "./core/candidate.ts";
import type { RoutedMember, RouterParts } from "./members.ts";

type MethodFunction = (
  input: unknown,
  options: CallOptions,
) => Promise<Message> | AsyncIterable<Message>;

/** What a peer tells the router. */
export interface PeerOwner {
  readonly parts: RouterParts;
  readonly drainMs: number;
  /** It has a channel now, or none any more. */
  opened(peer: Peer): void;
  closed(peer: Peer): void;
  /** Calls in flight were canceled, because the member had left too long ago. */
  cut(calls: number): void;
}

export class Peer implements Candidate {
  member: RoutedMember;
  pending = 0;
  lastCall = 0;
  readonly #owner: PeerOwner;
  #channel: Channel | undefined = undefined;
  /** Of each service that was called: a client with a function for each method. */
  readonly #clients: Map<DescService, Record<string, MethodFunction>> = new Map();
  #usedMs = 0;
  #hasLeft = false;
  #isCut = false;
  #drain: Timer | undefined = undefined;

  constructor(owner: PeerOwner, member: RoutedMember) {
    this.#owner = owner;
    this.member = member;
  }

  get address(): string {
    return this.member.address;
  }

  get nodeId(): string {
    return this.member.nodeId;
  }

  get name(): string {
    return this.member.name;
  }

  get tags(): readonly string[] {
    return this.#owner.parts.offers.tagsOf(this.member);
  }

  /** A call to oneself takes no time at all. */
  get tripMs(): number | undefined {
    return this.isSelf ? 0 : this.#owner.parts.trips?.tripMs(this.address);
  }

  get isSelf(): boolean {
    return this.address === this.#owner.parts.self;
  }

  /** Calls go to the handlers of this process. */
  get isLocal(): boolean {
    return this.isSelf && this.#owner.parts.local !== undefined;
  }

  get isIdle(): boolean {
    return this.pending === 0;
  }

  /** When its last call began or ended, by the clock. */
  get usedMs(): number {
    return this.#usedMs;
  }

  /** A call would be written at once. */
  get isReady(): boolean {
    return this.isLocal || this.#channel?.link !== undefined;
  }

  /** A call would fail at once: the last dial failed, and the next one is not due yet. */
  get isDown(): boolean {
    return this.#channel?.state === "backoff" && !this.isLocal;
  }

  /** Deadline of calls that name none, when the channel has one. */
  get timeoutMs(): number | undefined {
    return this.#channel?.timeoutMs;
  }

  /** A call is to be made here, and has this number. Each one has to end, by {@link end}. */
  begin(number: number): void {
    this.pending++;
    this.lastCall = number;
    this.#usedMs = this.#owner.parts.clock.monotonicMs();
  }

  end(): void {
    this.pending--;
    this.#usedMs = this.#owner.parts.clock.monotonicMs();
    if (this.#hasLeft && this.pending === 0) this.close();
  }

  /** Starts the call. Throws when there is no way to the member at all; then nothing was sent. */
  start(
    method: DescMethod,
    input: unknown,
    options: CallOptions,
  ): Promise<Message> | AsyncIterable<Message> {
    let client = this.#clients.get(method.parent);
    if (client === undefined) {
      const made = this.isLocal
        ? this.#owner.parts.local!(method.parent)
        : createClient(method.parent, this.#open());
      client = made as unknown as Record<string, MethodFunction>;
      this.#clients.set(method.parent, client);
    }
    return client[method.localName](input, options);
  }

  /**
   * Waits for a connection, at most so long: undefined when there is one, `slow` when there may
   * still be one later, else why there is none. `onWait` gets a function that ends the wait, which
   * then counts as connected. Throws like {@link start}.
   */
  connected(
    withinMs: number,
    onWait: (end: () => void) => void,
  ): Promise<CoveyError | "slow" | undefined> {
    const channel = this.#open();
    return new Promise((resolve) => {
      const settle = (outcome: CoveyError | "slow" | undefined): void => {
        timer.cancel();
        channel.leave(waiter);
        resolve(outcome);
      };
      const waiter: Waiter = { connected: () => settle(undefined), unconnected: settle };
      const timer = this.#owner.parts.clock.timer(withinMs, settle, "slow" as const);
      onWait(() => settle(undefined));
      channel.wait(waiter);
    });
  }

  /** The member is not in the view any more: no new calls, and not for ever those that go on. */
  left(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    if (this.pending === 0) this.close();
    else if (!this.isLocal) {
      this.#drain = this.#owner.parts.clock.timer(this.#owner.drainMs, cutPeer, this);
    }
  }

  /** The same node is in the view again, perhaps as a new member: its calls may go on. */
  returned(member: RoutedMember): void {
    this.member = member;
    this.#hasLeft = false;
    this.#drain?.cancel();
    this.#drain = undefined;
  }

  /** The time to drain is over; public only for the timer. */
  cut(): void {
    this.#isCut = true;
    this.#owner.cut(this.pending);
    this.close();
  }

  /** Closes the channel; what is in flight fails. A later call makes another one. */
  close(): void {
    this.#drain?.cancel();
    this.#drain = undefined;
    this.#clients.clear();
    const channel = this.#channel;
    this.#channel = undefined;
    channel?.close();
    this.#owner.closed(this);
  }

  /** The error as the caller gets it: a call that was cut says so. */
  explained(error: CoveyError, options: CallOptions): CoveyError {
    if (!this.#isCut || error.code !== Code.canceled || options.signal?.aborted) return error;
    const message = `${this.name} (${this.address}) has left the cluster, and the call was not ` +
      `done within ${this.#owner.drainMs} ms`;
    return new CoveyError(Code.unavailable, message, { cause: error, sent: error.sent });
  }

  #open(): Channel {
    if (this.#channel === undefined) {
      try {
        this.#channel = this.#owner.parts.channel(this.address);
      } catch (thrown) {
        const { code, rawMessage } = CoveyError.from(thrown);
        throw new CoveyError(code, rawMessage, { cause: thrown, sent: false });
      }
      this.#usedMs = this.#owner.parts.clock.monotonicMs();
      this.#owner.opened(this);
    }
    return this.#channel;
  }
}

function cutPeer(peer: Peer): void {
  peer.cut();
}
