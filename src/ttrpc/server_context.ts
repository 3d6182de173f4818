/** What a handler sees of its call, and what the driver keeps about it. */
import type { DescMethod } from "npm:@bufbuild/protobuf@2.17.0";
import type { Address } from "../base/address.ts";
import type { Identity } from "../base/identity.ts";
import type { ServerCall } from "./core/server.ts";
import type { Status } from "./core/envelope.ts";
import { offerKey } from "./core/extensions.ts";
import { Metadata } from "./metadata.ts";
import { dismiss, type MessageReader } from "./reader.ts";
import type { ServedMethod } from "./registry.ts";
import type { ServerLink } from "./server_link.ts";
import type { CallContext } from "./service.ts";
import { errorFromStatus } from "./status.ts";

type CallOf = ServerCall<ServedMethod>;

const noPairs: readonly string[] = [];

/** Everything that most handlers never ask for is made when it is asked for. */
export class ServerContext implements CallContext {
  readonly #link: ServerLink;
  readonly #call: CallOf;
  #controller: AbortController | undefined = undefined;
  #metadata: Metadata | undefined = undefined;
  #responseMetadata: Metadata | undefined = undefined;
  #ended = false;
  /** Why the handler should stop; set once. An error is only made for who listens. */
  #stopped: Error | "finished" | undefined = undefined;
  #room: (() => void) | undefined = undefined;
  #dismissed: Promise<void> | undefined = undefined;
  reader: MessageReader<CallOf> | undefined = undefined;
  producer: AsyncIterator<unknown> | undefined = undefined;

  constructor(link: ServerLink, call: CallOf) {
    this.#link = link;
    this.#call = call;
  }

  get method(): DescMethod {
    return this.#call.route.target.descriptor;
  }

  get identity(): Identity {
    return this.#link.identity;
  }

  get address(): Address {
    return this.#link.peer.address;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#stopped !== undefined) this.#controller.abort(abortReason(this.#stopped));
    }
    return this.#controller.signal;
  }

  get timeoutMs(): number | undefined {
    if (this.#call.deadlineMs === Infinity) return undefined;
    const left = this.#call.deadlineMs - this.#link.nowMs();
    return left > 0 ? left : 0;
  }

  get metadata(): Metadata {
    return this.#metadata ??= metadataFromPairs(this.#call.metadata);
  }

  get responseMetadata(): Metadata {
    return this.#responseMetadata ??= new Metadata();
  }

  /** A proxy hands this context to a client as its options: response metadata passes through. */
  get onResponseMetadata(): (metadata: Metadata) => void {
    return (metadata) => {
      for (const [key, value] of metadata) this.responseMetadata.append(key, value);
    };
  }

  // -- for the driver -------------------------------------------------------------------------

  responsePairs(): readonly string[] {
    if (this.#responseMetadata === undefined) return noPairs;
    const pairs: string[] = [];
    for (const [key, value] of this.#responseMetadata) pairs.push(key, value);
    return pairs;
  }

  /** True the first time: a call is counted as ended once. */
  markEnded(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    return true;
  }

  /** The handler has finished; whoever listens to the signal learns it. */
  finish(): void {
    this.#abort("finished");
    this.reader?.return();
  }

  /** The call ended without the handler: peer gone, deadline passed, reset. */
  stop(status: Status): void {
    const error = errorFromStatus(status, true);
    this.#abort(error);
    this.reader?.fail(error);
    this.stopProducer();
    this.roomMade();
  }

  /** Asks a streaming handler to clean up; a generator does so at its next step. */
  stopProducer(): void {
    const producer = this.producer;
    this.producer = undefined;
    this.#dismissed ??= dismiss(producer);
  }

  /** Resolves when a producer that was asked to clean up has done so. */
  get dismissed(): Promise<void> | undefined {
    return this.#dismissed;
  }

  /** Resolves when the stream has room, or is over. */
  room(): Promise<void> {
    return new Promise((resolve) => this.#room = resolve);
  }

  roomMade(): void {
    const resolve = this.#room;
    this.#room = undefined;
    resolve?.();
  }

  #abort(reason: Error | "finished"): void {
    if (this.#stopped !== undefined) return;
    this.#stopped = reason;
    this.#controller?.abort(abortReason(reason));
  }
}

function abortReason(reason: Error | "finished"): Error {
  return reason === "finished" ? new DOMException("the call has finished", "AbortError") : reason;
}

function metadataFromPairs(pairs: readonly string[] | undefined): Metadata {
  const metadata = new Metadata();
  if (pairs === undefined) return metadata;
  for (let at = 0; at < pairs.length; at += 2) {
    if (pairs[at] !== offerKey) metadata.append(pairs[at], pairs[at + 1]);
  }
  return metadata;
}
