/**
 * Datagrams by `node:dgram`: `Deno.listenDatagram` needs an unstable flag. It shares a port, where
 * asked, by SO_REUSEADDR, and joins groups (tried on 2.9.5).
 */
import dgram from "node:dgram";
import { needsLookup } from "../lookup.ts";
import type { UdpHandler, UdpOptions, UdpSocket } from "../port.ts";
import { netDenied, netError } from "./error.ts";
import type { NetContext } from "./net.ts";
import { hostFlag, isGranted, requireHost } from "./permission.ts";

/** Datagrams that wait for the ones before; one more is dropped. */
const waitingMax = 256;

/** Binds; see the port. */
export async function bindUdp(context: NetContext, options: UdpOptions): Promise<UdpSocket> {
  const { host, port } = options;
  const doing = `bind udp://${host.includes(":") ? `[${host}]` : host}:${port}`;
  try {
    // Without the permission `bind` throws where nobody can catch it (tried on 2.9.5).
    requireHost(host, port, doing);
  } catch (error) {
    throw netError(error, doing);
  }
  await context.releases();
  const native = dgram.createSocket({
    type: host.includes(":") ? "udp6" : "udp4",
    // Without a group the port is this socket's alone.
    reuseAddr: options.multicast !== undefined,
  });
  return await new Promise((resolve, reject) => {
    const refuse = (error: unknown): void => {
      try {
        native.close();
      } catch {
        // It never was open, or is closed already: one failure may be told of twice.
      }
      reject(netError(error, doing, hostFlag(host, port)));
    };
    native.on("error", refuse);
    try {
      native.bind({ address: host, port }, () => {
        try {
          join(native, options);
        } catch (error) {
          return refuse(error);
        }
        native.off("error", refuse);
        resolve(new DenoUdpSocket(context, native, options.handler));
      });
    } catch (error) {
      refuse(error);
    }
  });
}

function join(native: dgram.Socket, { multicast }: UdpOptions): void {
  if (multicast === undefined) return;
  if (multicast.interface !== undefined) native.setMulticastInterface(multicast.interface);
  native.setMulticastTTL(multicast.ttl ?? 1);
  native.setMulticastLoopback(multicast.loopback ?? true);
  native.addMembership(multicast.group, multicast.interface);
}

interface Outgoing {
  readonly datagram: Uint8Array;
  readonly host: string;
  readonly port: number;
}

class DenoUdpSocket implements UdpSocket {
  readonly host: string;
  readonly port: number;
  readonly #context: NetContext;
  readonly #native: dgram.Socket;
  readonly #handler: UdpHandler;
  readonly #toAddresses: SendQueue;
  /** Apart, so that a name that takes long to be looked up holds up no address. */
  readonly #toNames: SendQueue;
  #closed = false;

  constructor(context: NetContext, native: dgram.Socket, handler: UdpHandler) {
    const bound = native.address();
    this.host = bound.address;
    this.port = bound.port;
    this.#context = context;
    this.#native = native;
    this.#handler = handler;
    const failed = (error: unknown): void => this.#failed(error);
    this.#toAddresses = new SendQueue(native, failed);
    this.#toNames = new SendQueue(native, failed);
    native.on("message", (bytes, from) => {
      if (this.#closed) return;
      // Not as Buffer, whose `slice` does not copy.
      const datagram = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
      handler.message(this, datagram, from.address, from.port);
    });
    native.on("error", (error) => this.#failed(error));
  }

  #failed(error: unknown): void {
    if (!this.#closed) this.#handler.error(this, netError(error, `udp port ${this.port}`));
  }

  send(datagram: Uint8Array, host: string, port: number): void {
    if (this.#closed) return;
    const queue = needsLookup(host) ? this.#toNames : this.#toAddresses;
    queue.add(datagram, host, port);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#toAddresses.clear();
    this.#toNames.clear();
    const closed = new Promise<void>((resolve) => this.#native.once("close", resolve));
    this.#context.releasing(closed);
    this.#native.close();
  }
}

/** Deno sends those that are under way at once in any order, so they go one by one. */
class SendQueue {
  readonly #native: dgram.Socket;
  readonly #failed: (error: unknown) => void;
  #waiting: Outgoing[] = [];
  #sending = false;

  constructor(native: dgram.Socket, failed: (error: unknown) => void) {
    this.#native = native;
    this.#failed = failed;
  }

  add(datagram: Uint8Array, host: string, port: number): void {
    if (this.#waiting.length >= waitingMax) return;
    // Deno reads the array after `send` returned (tried on 2.9.5), so it gets a copy, and not by
    // `slice`, which does not copy a Buffer.
    this.#waiting.push({ datagram: new Uint8Array(datagram), host, port });
    if (!this.#sending) this.#sendNext();
  }

  clear(): void {
    this.#waiting = [];
  }

  #sendNext(): void {
    const next = this.#waiting.shift();
    this.#sending = next !== undefined;
    if (next === undefined) return;
    const done = (error: unknown): void => {
      if (error !== null && error !== undefined) this.#failed(withPermission(error, next));
      this.#sendNext();
    };
    try {
      this.#native.send(next.datagram, next.port, next.host, done);
    } catch (error) {
      // Not from within `send`: the caller is in the middle of its own work.
      queueMicrotask(() => done(error));
    }
  }
}

/** Deno calls a missing permission an unknown error here (tried on 2.9.5). */
function withPermission(error: unknown, { host, port }: Outgoing): unknown {
  const name = host.includes(":") ? `[${host}]` : host;
  try {
    if (isGranted({ name: "net", host: `${name}:${port}` })) return error;
  } catch {
    // It is no host or no port that a permission could be for, which is why it failed.
    return error;
  }
  return netDenied(`send to udp://${name}:${port}`, hostFlag(host, port), error);
}
