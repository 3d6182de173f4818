/**
 * Renewals on their way to the leader, which alone knows when a lease is due: all that this node
 * takes travel on one stream, in their order.
 */
import type { LeaseKeepAliveRequest, LeaseKeepAliveResponse } from "../gen/covey/kv/v1/kv_pb.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { Lease } from "../gen/covey/kv/v1/kv_pb.ts";
import { forwardedKey } from "./metadata_keys.ts";
import { unavailable } from "./refusal.ts";

/** For calls that are forwarded. */
export const forwardedMetadata: Readonly<Record<string, string>> = { [forwardedKey]: "1" };

interface Waiting {
  readonly id: bigint;
  readonly resolve: (response: LeaseKeepAliveResponse) => void;
  readonly reject: (error: CoveyError) => void;
}

type RequestInit = Pick<LeaseKeepAliveRequest, "id">;

/** Renewals that wait for the leader; one more is refused. */
const waitingMax = 100_000;

/** One stream to one leader. */
class Upstream implements AsyncIterableIterator<RequestInit> {
  readonly channel: Channel;
  /** Those that were not sent, and those that were. */
  readonly #unsent: Waiting[] = [];
  readonly #sent: Waiting[] = [];
  readonly #abort = new AbortController();
  #wake: (() => void) | undefined = undefined;
  over = false;

  constructor(channel: Channel) {
    this.channel = channel;
    void this.#receive();
  }

  get length(): number {
    return this.#unsent.length + this.#sent.length;
  }

  push(waiting: Waiting): void {
    this.#unsent.push(waiting);
    this.#wake?.();
    this.#wake = undefined;
  }

  end(): void {
    this.#fail(unavailable("the node is shutting down"));
    this.#abort.abort();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<RequestInit>> {
    for (;;) {
      if (this.over) return { done: true, value: undefined };
      const waiting = this.#unsent.shift();
      if (waiting !== undefined) {
        this.#sent.push(waiting);
        return { done: false, value: { id: waiting.id } };
      }
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  return(): Promise<IteratorResult<RequestInit>> {
    this.over = true;
    this.#wake?.();
    return Promise.resolve({ done: true, value: undefined });
  }

  async #receive(): Promise<void> {
    try {
      const client = createClient(Lease, this.channel);
      const options = { metadata: forwardedMetadata, signal: this.#abort.signal };
      for await (const response of client.leaseKeepAlive(this, options)) {
        const waiting = this.#sent.shift();
        if (waiting?.id !== response.id) {
          throw new CoveyError(Code.internal, "the leader answered for another lease");
        }
        waiting.resolve(response);
      }
      this.#fail(unavailable("the leader ended the renewals"));
    } catch (error) {
      this.#fail(CoveyError.from(error, Code.unavailable));
    }
  }

  #fail(error: CoveyError): void {
    this.over = true;
    this.#wake?.();
    for (const { reject } of [...this.#sent.splice(0), ...this.#unsent.splice(0)]) reject(error);
  }
}

export class LeaseForwarder {
  #upstream: Upstream | undefined = undefined;

  /** Renews at the leader. Renewing twice does no harm: what fails may be tried again. */
  renew(channel: Channel, id: number): Promise<LeaseKeepAliveResponse> {
    let upstream = this.#upstream;
    if (upstream === undefined || upstream.over || upstream.channel !== channel) {
      upstream?.end();
      upstream = this.#upstream = new Upstream(channel);
    }
    if (upstream.length >= waitingMax) {
      const message = "too many renewals wait for the leader: try again later";
      return Promise.reject(new CoveyError(Code.resourceExhausted, message));
    }
    const open = upstream;
    return new Promise((resolve, reject) => open.push({ id: BigInt(id), resolve, reject }));
  }

  stop(): void {
    this.#upstream?.end();
    this.#upstream = undefined;
  }
}
