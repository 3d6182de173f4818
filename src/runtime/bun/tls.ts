/// <reference types="npm:bun-types@1.4.5" />
/** TLS options for Bun and the check of the peer once its handshake is over. */
import type { Address } from "../../base/address.ts";
import { NetError, type PeerCertificate, type TlsOptions } from "../port.ts";
import { canonicalIp, certifiesName, readCertificate } from "../x509.ts";
import type { BunSocket } from "./connection.ts";
import { codeOf } from "./error.ts";

/** Both sides present a certificate and verify the other's, always. */
function commonTls(tls: TlsOptions): Bun.TLSOptions & { requestCert: true } {
  return {
    cert: tls.certificate,
    key: tls.key,
    ca: tls.authorities,
    requestCert: true,
    rejectUnauthorized: true,
  };
}

/** Options for a listener. */
export function serverTls(tls: TlsOptions): Bun.TLSOptions {
  return commonTls(tls);
}

/** Options for a dial; throws `invalid` when no name could be checked afterwards. */
export function clientTls(tls: TlsOptions, address: Address): Bun.TLSOptions {
  const name = expectedName(tls, address);
  // SNI carries host names only (RFC 6066 section 3).
  if (canonicalIp(name) !== undefined || !/^[A-Za-z0-9_.-]+$/.test(name)) return commonTls(tls);
  return { ...commonTls(tls), serverName: name };
}

function expectedName(tls: TlsOptions, address: Address): string {
  const name = tls.serverName ?? (address.kind === "tcp" ? address.host : "");
  if (name === "") throw new NetError("invalid", "TLS over a unix socket needs serverName");
  return name;
}

/**
 * The peer's certificate, or throws the reason to refuse it. `dialled` is absent on a listener.
 * Bun's checkServerIdentity is never called (tried on 1.4.5), so the name is compared here.
 */
export function verifiedCertificate(
  socket: BunSocket,
  error: Error | null,
  tls: TlsOptions,
  dialled: Address | undefined,
): PeerCertificate {
  // On success Bun passes null or undefined; the flag beside it is of no use.
  if (error !== null && error !== undefined) throw wrongName(socket, error, tls, dialled) ?? error;
  if (!socket.authorized) throw new Error("the peer's certificate is not verified");
  const raw = (socket.getPeerCertificate() as { raw?: Uint8Array } | null)?.raw;
  if (raw === undefined || raw.length === 0) throw new Error("the peer showed no certificate");
  const certificate = readCertificate(raw);
  // A resumed session brings the certificate it began with, which nobody looks at again.
  if (certificate.notAfterMs < Date.now()) throw new Error("the peer's certificate has expired");
  if (dialled !== undefined) {
    const name = expectedName(tls, dialled);
    if (!certifiesName(certificate.names, name)) throw isFor(certificate, name);
  }
  const refusal = tls.verifyPeer?.(certificate);
  if (refusal !== undefined) throw new Error(refusal);
  return certificate;
}

/** The engine's own words for a wrong name list its addresses alone, and none where it has none. */
function wrongName(
  socket: BunSocket,
  error: Error,
  tls: TlsOptions,
  dialled: Address | undefined,
): Error | undefined {
  if (codeOf(error) !== "ERR_TLS_CERT_ALTNAME_INVALID" || dialled === undefined) return undefined;
  const raw = (socket.getPeerCertificate() as { raw?: Uint8Array } | null)?.raw;
  if (raw === undefined || raw.length === 0) return undefined;
  return isFor(readCertificate(raw), expectedName(tls, dialled));
}

function isFor({ names }: PeerCertificate, name: string): Error {
  const shown = names.length === 0 ? "no name at all" : names.join(", ");
  return new Error(`the peer's certificate is for ${shown}, not ${name}`);
}
