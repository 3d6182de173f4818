/** Listening with TLS: a plain listener below, whose connections shake hands first. */
import { type Address, formatAddress } from "../../base/address.ts";
import {
  type ConnectionHandler,
  handshakeMsDefault,
  type Listener,
  type ListenOptions,
  type Peer,
  type TlsOptions,
} from "../port.ts";
import { type DenoListener, listenPlain } from "./listener.ts";
import type { NetContext } from "./net.ts";
import { checkMaterial } from "./tls.ts";
import { plainHandler, TlsConnection, type TlsOwner } from "./tls_connection.ts";

/** Starts to accept; see the port. */
export async function listenTls<S>(
  context: NetContext,
  options: ListenOptions<S>,
  tls: TlsOptions,
): Promise<Listener> {
  checkMaterial(context.checkedTls, tls, `listen on ${formatAddress(options.address)}`);
  const listener = new TlsListener(context, options, tls);
  await listener.bind();
  return listener;
}

class TlsListener<S> implements Listener, TlsOwner<S> {
  readonly handler: ConnectionHandler<S>;
  readonly handshakeMs: number;
  connections = 0;
  handshakesFailed = 0;
  readonly #context: NetContext;
  readonly #options: ListenOptions<S>;
  readonly #state: (peer: Peer) => S;
  #tls: TlsOptions;
  #plain!: DenoListener<TlsConnection<unknown>>;

  constructor(context: NetContext, options: ListenOptions<S>, tls: TlsOptions) {
    this.#context = context;
    this.#options = options;
    this.#state = options.state;
    this.#tls = tls;
    this.handler = options.handler;
    this.handshakeMs = options.handshakeMs ?? handshakeMsDefault;
  }

  async bind(): Promise<void> {
    const expected = { clients: this.#context.verifiedClients };
    this.#plain = await listenPlain(this.#context, {
      ...this.#options,
      // Whoever shakes hands counts towards the limit.
      handler: plainHandler,
      state: () => new TlsConnection(this, this.#tls, expected) as TlsConnection<unknown>,
    });
  }

  get address(): Address {
    return this.#plain.address;
  }

  get refused(): number {
    return this.#plain.refused;
  }

  /** For handshakes to come: the engine gets the options with each. */
  renewTls(tls: TlsOptions): void {
    const doing = `renew the certificate of ${formatAddress(this.address)}`;
    checkMaterial(this.#context.checkedTls, tls, doing);
    this.#tls = tls;
  }

  stop(): void {
    this.#plain.stop();
  }

  opening(connection: TlsConnection<S>): S {
    this.connections++;
    return this.#state(connection);
  }

  gone(opened: boolean): void {
    if (opened) this.connections--;
    else this.handshakesFailed++;
  }
}
