/** A node's RPC: what it serves on its mesh listener, and clients of what others serve. */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { type Address, formatAddress, parseAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Runtime, TlsOptions } from "../runtime/port.ts";
import { Channel, type ChannelOptions } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import type { RpcCounters } from "../ttrpc/counters.ts";
import type { RpcLimits } from "../ttrpc/limits.ts";
import type { RpcServer } from "../ttrpc/server.ts";
import type { Client, ClientInterceptor, Handlers } from "../ttrpc/service.ts";

/** What a node's channels have in common. */
export interface NodeRpcParts {
  readonly runtime: Runtime;
  readonly server: RpcServer;
  readonly limits: RpcLimits;
  readonly counters: RpcCounters;
  readonly tls?: TlsOptions;
}

/** How to reach a service. */
export interface ReachOptions extends
  Partial<
    Pick<
      ChannelOptions,
      "peer" | "dialTimeoutMs" | "backoff" | "waitForReady" | "timeoutMs" | "limits"
    >
  > {
  /** The first is the outermost. */
  readonly interceptors?: readonly ClientInterceptor[];
  /**
   * False dials in plaintext although the node has certificates; true wants them, and is refused
   * by a node without. Default: the node's TLS on TCP.
   */
  readonly tls?: boolean;
}

export class NodeRpc {
  readonly #parts: NodeRpcParts;
  readonly #channels: Set<Channel> = new Set();
  #addresses: readonly Address[] = [];
  #closed = false;

  constructor(parts: NodeRpcParts) {
    this.#parts = parts;
  }

  /** Where the mesh listener is bound, in the order of `node.listen`: `tcp://127.0.0.1:7946`. */
  get addresses(): readonly string[] {
    return this.#addresses.map(formatAddress);
  }

  /** For the composition root, once the listeners are bound. */
  bound(addresses: readonly Address[]): void {
    this.#addresses = addresses;
  }

  /** Serves a service on every listener and through the admin endpoint. */
  serve<S extends DescService>(service: S, handlers: Handlers<S>): void {
    this.#parts.server.registry.add(service, handlers);
  }

  /** Stops serving it; calls in flight finish. */
  withdraw(service: DescService): void {
    this.#parts.server.registry.remove(service);
  }

  /** A managed connection; the node closes it when it stops. After that, calls are `canceled`. */
  channel(address: string, options: ReachOptions = {}): Channel {
    const parts = this.#parts;
    const parsed = parseAddress(address);
    if (options.tls === true && parts.tls === undefined) {
      throw new CoveyError(
        Code.failedPrecondition,
        `cannot reach ${formatAddress(parsed)} with TLS: the node has no certificates; set ` +
          "tls.certificate_file, tls.key_file and tls.authorities_file",
      );
    }
    const secure = options.tls ?? (parsed.kind === "tcp");
    const channel = new Channel({
      net: parts.runtime.net,
      clock: parts.runtime.clock,
      random: parts.runtime.random,
      address: parsed,
      tls: secure ? parts.tls : undefined,
      counters: parts.counters,
      peer: options.peer,
      dialTimeoutMs: options.dialTimeoutMs,
      backoff: options.backoff,
      waitForReady: options.waitForReady,
      timeoutMs: options.timeoutMs,
      limits: { ...parts.limits, ...options.limits },
      onClose: () => this.#channels.delete(channel),
    });
    this.#channels.add(channel);
    // Nobody would close it any more.
    if (this.#closed) channel.close();
    return channel;
  }

  /** A client of a service at an address. */
  client<S extends DescService>(
    service: S,
    address: string,
    options: ReachOptions = {},
  ): Client<S> {
    return createClient(service, this.channel(address, options), options.interceptors);
  }

  /** Channels that are open. */
  get channelCount(): number {
    return this.#channels.size;
  }

  /** Closes every channel, and those that are made later at once. */
  close(): void {
    this.#closed = true;
    for (const channel of [...this.#channels]) channel.close();
  }
}
