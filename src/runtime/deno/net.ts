/** The port's `Net`: plain connections on `Deno.listen` and `Deno.connect`, TLS and UDP beside. */
import type { Clock, Net, TlsOptions } from "../port.ts";
import { BufferPool } from "./buffers.ts";
import { readDescriptorsMax, spareDescriptors } from "./descriptors.ts";
import { connectPlain, DialCounter } from "./dial.ts";
import { listenPlain } from "./listener.ts";
import { VerifiedClients } from "./tls_resumption.ts";
import { inspectTls } from "../tls_material.ts";

/** What the connections of one runtime share. */
export class NetContext {
  readonly pool = new BufferPool();
  readonly dials = new DialCounter();
  /** TLS material that was found good. */
  readonly checkedTls = new WeakSet<TlsOptions>();
  readonly verifiedClients = new VerifiedClients();
  readonly #releasing = new Set<Promise<void>>();
  #descriptors = 0;
  /** Sockets that may be open before one more is refused; undefined until somebody listens. */
  #descriptorsMax: number | undefined = undefined;

  /** Takes note of a socket that was told to close. */
  releasing(closed: Promise<void>): void {
    const done = closed.catch(() => {}).finally(() => this.#releasing.delete(done));
    this.#releasing.add(done);
  }

  /**
   * Waits until sockets that were told to close are closed. Deno lets go of a listener only when
   * its pending `accept` is rejected: until then the address is in use (tried on 2.9.5).
   */
  async releases(): Promise<void> {
    if (this.#releasing.size > 0) await Promise.all(this.#releasing);
  }

  /** Counts an accepted socket, unless none is left but those that files and children need. */
  takeDescriptor(): boolean {
    this.#descriptorsMax ??= socketsMax(readDescriptorsMax());
    if (this.#descriptors >= this.#descriptorsMax) return false;
    this.#descriptors++;
    return true;
  }

  /** Counts a dialled socket, which only the system bounds. */
  countDescriptor(): void {
    this.#descriptors++;
  }

  giveDescriptor(): void {
    this.#descriptors--;
  }
}

/**
 * At the limit itself Deno does not just fail to accept: it panics when a child is started or ends
 * (tried on 2.9.5). Where the limit cannot be read, only the system's refusal bounds.
 */
function socketsMax(descriptorsMax: number | undefined): number {
  if (descriptorsMax === undefined) return Number.POSITIVE_INFINITY;
  return descriptorsMax - Math.min(spareDescriptors, Math.floor(descriptorsMax / 4));
}

/** Sockets of this process. What few need is loaded at the first use. */
export function createNet(clock: Clock): Net {
  const context = new NetContext();
  let resolve: Net["resolve"] | undefined;
  return {
    async listen(options) {
      if (options.tls === undefined) return await listenPlain(context, options);
      const { listenTls } = await import("./tls_listener.ts");
      return await listenTls(context, options, options.tls);
    },
    async connect(options) {
      if (options.tls === undefined) return await connectPlain(context, options);
      const { connectTls } = await import("./tls_dial.ts");
      return await connectTls(context, options, options.tls);
    },
    async bindUdp(options) {
      const { bindUdp } = await import("./udp.ts");
      return await bindUdp(context, options);
    },
    async resolve(options) {
      const { createResolve } = await import("./resolve.ts");
      resolve ??= createResolve(clock);
      return await resolve(options);
    },
    inspectTls,
  };
}
