/**
 * TLS by `node:tls`, fed by hand: `Deno.listenTls` cannot ask for a client's certificate.
 *
 * The engine does not get the socket but a {@link Transport}, a stream over one of our own plain
 * connections. With a socket of its own it reads on while its reader is paused and holds what comes
 * without a bound (tried on 2.9.5: 200 MB). This way our own `pause` stops the bytes below it, and
 * limits, unix sockets, permissions and time limits are those of plain connections. It is also
 * faster (770 against 430 MB/s in); an idle connection costs 53 against 33 KB.
 *
 * Tried on 2.9.5: `requestCert` and `rejectUnauthorized` refuse missing, rogue and expired
 * certificates, also under NODE_TLS_REJECT_UNAUTHORIZED=0; a bad certificate or key of our own is
 * not noticed before a handshake; an engine's socket over a stream that was once paused stays stuck
 * after `resume`, so it never is: what comes while paused waits in our own hands.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { Duplex } from "node:stream";
import tls from "node:tls";
import { messageOf } from "../error.ts";
import { type Connection, NetError, type PeerCertificate, type TlsOptions } from "../port.ts";
import { canonicalIp, certifiesName, readCertificate } from "../x509.ts";
import type { VerifiedClients } from "./tls_resumption.ts";

/** What the code above needs of an engine's socket. */
export type SecureSocket = tls.TLSSocket;

/** How a handshake ends: with a socket whose chain is good, or with an error. */
export interface Handshake {
  secure(socket: SecureSocket): void;
  failed(error: unknown): void;
}

/** The engine's view of a plain connection. */
export class Transport extends Duplex {
  readonly #plain: Connection<unknown>;
  /** What the engine wants sent and the connection did not take yet. */
  #rest: Uint8Array | undefined = undefined;
  #taken: ((error?: Error | null) => void) | undefined = undefined;

  constructor(plain: Connection<unknown>) {
    super({ allowHalfOpen: true });
    this.#plain = plain;
  }

  /** Bytes came in. The engine reads them at once, but that it does is not for us to rely on. */
  received(chunk: Uint8Array): void {
    this.push(chunk.slice());
  }

  drained(): void {
    if (this.#rest === undefined) return;
    const taken = this.#plain.write(this.#rest);
    if (taken < this.#rest.length) {
      this.#rest = this.#rest.subarray(taken);
      return;
    }
    const done = this.#taken;
    this.#rest = undefined;
    this.#taken = undefined;
    done?.();
  }

  // The connection reads by itself; see `received`.
  override _read(): void {}

  override _write(
    chunk: Uint8Array,
    _encoding: unknown,
    done: (error?: Error | null) => void,
  ): void {
    this.#rest = chunk;
    this.#taken = done;
    this.drained();
  }

  /**
   * The engine destroys its stream when both sides have ended, and only then, in a microtask,
   * writes its last record, the close_notify (tried on 2.9.5).
   */
  override destroy(error?: Error): this {
    setTimeout(() => super.destroy(error), 0);
    return this;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#plain.close();
    done(error);
  }
}

/** Both sides present a certificate and verify the other's, always. */
function commonOptions(options: TlsOptions) {
  return {
    cert: options.certificate,
    key: options.key,
    ca: options.authorities,
    requestCert: true,
    rejectUnauthorized: true,
    allowHalfOpen: true,
  };
}

/**
 * Shakes hands as the server. A handshake that failed stays in memory, 24 KB of it, until the
 * engine's own time for it is over (tried on 2.9.5; two minutes unless it is told).
 */
export function acceptSecure(
  options: TlsOptions & { readonly handshakeMs: number },
  transport: Transport,
  end: Handshake,
): void {
  // A server of its own for each, since its event does not tell which transport became secure. It
  // holds no more than the options.
  const server = tls.createServer(
    { ...commonOptions(options), handshakeTimeout: Math.ceil(options.handshakeMs) },
    (socket) => end.secure(socket),
  );
  server.on("tlsClientError", (error) => end.failed(error));
  server.emit("connection", transport);
}

/** Shakes hands as the client. */
export function dialSecure(
  options: TlsOptions,
  name: string,
  transport: Transport,
  end: Handshake,
): void {
  // SNI carries host names only (RFC 6066 section 3).
  const servername = canonicalIp(name) === undefined && /^[A-Za-z0-9_.-]+$/.test(name) ? name : "";
  const socket: tls.TLSSocket = tls.connect({
    ...commonOptions(options),
    socket: transport,
    servername,
    // The engine's own check splits the joined names at commas; see `verifiedCertificate`.
    checkServerIdentity: () => undefined,
  }, () => end.secure(socket));
  socket.on("error", (error) => end.failed(error));
}

/** What a certificate must be: a server's of this name, or a client's that may come back. */
export type Expected = { readonly name: string } | { readonly clients: VerifiedClients };

/** The verified certificate of the peer, or throws why it is refused. */
export function verifiedCertificate(
  socket: SecureSocket,
  options: TlsOptions,
  expected: Expected,
): PeerCertificate {
  if (!socket.authorized) throw new Error("the peer's certificate is not verified");
  const raw = socket.getPeerCertificate()?.raw;
  if (raw === undefined || raw.length === 0) throw new Error("the peer showed no certificate");
  const certificate = readCertificate(raw);
  // A resumed session brings the certificate it began with, which nobody looks at again.
  if (certificate.notAfterMs < Date.now()) throw new Error("the peer's certificate has expired");
  if ("clients" in expected) {
    const { authorities } = options;
    if (!socket.isSessionReused()) expected.clients.add(authorities, certificate.fingerprint);
    else if (!expected.clients.has(authorities, certificate.fingerprint)) {
      throw new Error("the session to resume was not verified with these authorities");
    }
  } else if (!certifiesName(certificate.names, expected.name)) {
    const names = certificate.names.join(", ");
    throw new Error(`the peer's certificate is for ${names}, not ${expected.name}`);
  }
  const refusal = options.verifyPeer?.(certificate);
  if (refusal !== undefined) throw new Error(refusal);
  return certificate;
}

/**
 * Throws `invalid` when our own certificate and key are no pair, which the engine would not notice.
 * That takes most of a millisecond, so `checked` remembers what was good.
 */
export function checkMaterial(
  checked: WeakSet<TlsOptions>,
  options: TlsOptions,
  doing: string,
): void {
  if (checked.has(options)) return;
  let problem: string;
  try {
    new X509Certificate(options.authorities);
    const certificate = new X509Certificate(options.certificate);
    if (certificate.checkPrivateKey(createPrivateKey(options.key))) {
      checked.add(options);
      return;
    }
    problem = "the key is not the certificate's";
  } catch (error) {
    problem = `certificate, key or authorities are not valid PEM (${messageOf(error)})`;
  }
  throw new NetError("invalid", `${doing}: ${problem}`);
}
