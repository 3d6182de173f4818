/** Dialling with TLS: a plain dial, then the handshake within the same limits. */
import {
  type Connection,
  type ConnectionHandler,
  type ConnectOptions,
  NetError,
  type TlsOptions,
} from "../port.ts";
import { type DialLimit, dialNative, limited, openDialled } from "./dial.ts";
import type { NetContext } from "./net.ts";
import { checkMaterial } from "./tls.ts";
import { plainHandler, TlsConnection, type TlsOwner } from "./tls_connection.ts";

/** Dials and opens; see the port. */
export function connectTls<S>(
  context: NetContext,
  options: ConnectOptions<S>,
  tls: TlsOptions,
): Promise<Connection<S>> {
  return limited(context, options, async (limit) => {
    const { address } = options;
    const serverName = tls.serverName ?? (address.kind === "tcp" ? address.host : undefined);
    if (serverName === undefined) {
      throw new NetError("invalid", `dial ${limit.name}: TLS here needs serverName`);
    }
    checkMaterial(context.checkedTls, tls, `dial ${limit.name}`);
    const native = await dialNative(context, address, limit);
    const dial = new TlsDial(limit, options);
    const connection = new TlsConnection<S>(dial, tls, { name: serverName });
    limit.signal.addEventListener("abort", () => connection.abandon());
    openDialled(context, address, native, plainHandler, connection as TlsConnection<unknown>);
    return await limit.run(dial.opened.promise);
  });
}

class TlsDial<S> implements TlsOwner<S> {
  readonly handler: ConnectionHandler<S>;
  readonly handshakeMs = undefined;
  readonly opened = Promise.withResolvers<Connection<S>>();
  readonly #limit: DialLimit;
  readonly #state: S;

  constructor(limit: DialLimit, { handler, state }: ConnectOptions<S>) {
    this.handler = handler;
    this.#limit = limit;
    this.#state = state;
  }

  opening(connection: TlsConnection<S>): S {
    // From now on the connection has an end of its own. The caller goes on when `open` has run.
    this.#limit.release();
    this.opened.resolve(connection);
    return this.#state;
  }

  gone(opened: boolean, error: NetError | undefined): void {
    if (opened) return;
    const why = error?.message ?? "the handshake was not finished";
    const kind = error?.kind ?? "tls";
    this.opened.reject(new NetError(kind, `dial ${this.#limit.name}: ${why}`, error));
  }
}
