/**
 * Datagrams by `node:dgram`: `Bun.udpSocket` cannot share a port (no reuseAddr, tried on 1.4.5),
 * which several nodes on one machine need for discovery.
 */
import dgram from "node:dgram";
import { needsLookup } from "../lookup.ts";
import type { UdpHandler, UdpOptions, UdpSocket } from "../port.ts";
import { netError } from "./error.ts";

/** Datagrams that wait for a name to be looked up; one more is dropped. */
const waitingMax = 256;

/** Binds; see the port. */
export function bindUdp(options: UdpOptions): Promise<UdpSocket> {
  const name = `udp://${options.host.includes(":") ? `[${options.host}]` : options.host}`;
  const doing = `bind ${name}:${options.port}`;
  return new Promise((resolve, reject) => {
    let native: dgram.Socket;
    try {
      native = dgram.createSocket({
        type: options.host.includes(":") ? "udp6" : "udp4",
        reuseAddr: options.multicast !== undefined,
      });
    } catch (error) {
      return reject(netError(error, doing));
    }
    const refuse = (error: unknown): void => {
      try {
        native.close();
      } catch {
        // It never was open.
      }
      reject(netError(error, doing));
    };
    native.on("error", refuse);
    try {
      native.bind({ address: options.host, port: options.port }, () => {
        try {
          join(native, options);
        } catch (error) {
          return refuse(error);
        }
        native.off("error", refuse);
        resolve(new BunUdpSocket(native, options.handler));
      });
    } catch (error) {
      refuse(error);
    }
  });
}

function join(native: dgram.Socket, options: UdpOptions): void {
  const multicast = options.multicast;
  if (multicast === undefined) return;
  if (multicast.interface !== undefined) native.setMulticastInterface(multicast.interface);
  native.setMulticastTTL(multicast.ttl ?? 1);
  native.setMulticastLoopback(multicast.loopback ?? true);
  native.addMembership(multicast.group, multicast.interface);
}

class BunUdpSocket implements UdpSocket {
  readonly host: string;
  readonly port: number;
  readonly #native: dgram.Socket;
  readonly #handler: UdpHandler;
  #waiting = 0;
  #closed = false;

  constructor(native: dgram.Socket, handler: UdpHandler) {
    const bound = native.address();
    this.host = bound.address;
    this.port = bound.port;
    this.#native = native;
    this.#handler = handler;
    native.on("message", (bytes, from) => {
      if (this.#closed) return;
      const datagram = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
      handler.message(this, datagram, from.address, from.port);
    });
    native.on("error", (error) => this.#failed(error));
  }

  #failed(error: unknown): void {
    if (!this.#closed) this.#handler.error(this, netError(error, `udp port ${this.port}`));
  }

  send(datagram: Uint8Array, host: string, port: number): void {
    const waits = needsLookup(host) ? 1 : 0;
    if (this.#closed || this.#waiting + waits > waitingMax) return;
    const done = (error: unknown): void => {
      this.#waiting -= waits;
      if (error !== null && error !== undefined) this.#failed(error);
    };
    this.#waiting += waits;
    try {
      // A copy, for the send may have to wait. Not by `slice`, which does not copy a Buffer.
      this.#native.send(new Uint8Array(datagram), port, host, done);
    } catch (error) {
      // Not from within `send`: the caller is in the middle of its own work.
      queueMicrotask(() => done(error));
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#native.close();
  }
}
