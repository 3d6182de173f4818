/**
 * TLS identities in a text form of the simulator's own: no cryptography, but everything that the
 * modules above can see of it behaves. A certificate names its authority by a number that only
 * the simulation which made that authority knows, a key fits one certificate, text that was
 * tampered with is refused.
 */
import { encodeText } from "../../base/bytes.ts";
import type { TlsInspection, TlsProblem } from "../../base/certificate.ts";
import { Xxh64, xxh64 } from "../../base/xxh64.ts";
import { NetError, type PeerCertificate, type TlsOptions } from "../port.ts";

export interface IdentityOptions {
  /** Name of the authority that signs; made when it is new. Default "cluster". */
  readonly authority?: string;
  readonly commonName?: string;
  /** Subject alternative names with their kind: `DNS:a`, `IP:10.0.0.1`, `URI:covey:node:…`. */
  readonly names?: readonly string[];
  /** End of validity on the wall clock; default a year after the simulation's start. */
  readonly notAfterMs?: number;
}

/** The strings of {@link TlsOptions}. */
export interface SimIdentity {
  readonly certificate: string;
  readonly key: string;
  /** The certificate of the signing authority. */
  readonly authorities: string;
}

interface CertificateBody {
  readonly commonName: string;
  readonly names: readonly string[];
  readonly notAfterMs: number;
  /** The authority's number. */
  readonly issuer: string;
  /** Hash of the key that fits. */
  readonly keyHash: string;
}

const certificatePattern =
  /-----BEGIN SIM CERTIFICATE-----\n(.*)\n(.*)\n-----END SIM CERTIFICATE-----/;
const authorityPattern =
  /-----BEGIN SIM AUTHORITY-----\n.*\n([0-9a-f]{16})\n-----END SIM AUTHORITY-----/g;
const keyPattern = /-----BEGIN SIM KEY-----\n([0-9a-f]{16})\n-----END SIM KEY-----/;

function hashText(text: string, seed = 0): string {
  return new Xxh64(seed).update(encodeText(text)).digestHex();
}

/** Makes identities; the same seed and names give the same strings. */
export class IdentityMaker {
  readonly #seed: number;
  readonly #notAfterMs: number;
  #serial = 0;

  constructor(seed: number, notAfterMs: number) {
    this.#seed = seed;
    this.#notAfterMs = notAfterMs;
  }

  make(options: IdentityOptions): SimIdentity {
    const authority = options.authority ?? "cluster";
    const issuer = hashText(`authority ${authority}`, this.#seed);
    const key = hashText(`key ${this.#serial++}`, this.#seed);
    const body: CertificateBody = {
      commonName: options.commonName ?? "",
      names: options.names ?? [],
      notAfterMs: options.notAfterMs ?? this.#notAfterMs,
      issuer,
      keyHash: hashText(key),
    };
    const text = JSON.stringify(body);
    return {
      certificate: `-----BEGIN SIM CERTIFICATE-----\n${text}\n${hashText(issuer + text)}\n` +
        "-----END SIM CERTIFICATE-----\n",
      key: `-----BEGIN SIM KEY-----\n${key}\n-----END SIM KEY-----\n`,
      authorities: `-----BEGIN SIM AUTHORITY-----\n${authority}\n${issuer}\n` +
        "-----END SIM AUTHORITY-----\n",
    };
  }
}

function readCertificate(pem: string): CertificateBody | undefined {
  const match = certificatePattern.exec(pem);
  if (match === null) return undefined;
  let body: CertificateBody;
  try {
    body = JSON.parse(match[1]);
  } catch {
    // Text that is not what `make` wrote: no certificate.
    return undefined;
  }
  return hashText(body.issuer + match[1]) === match[2] ? body : undefined;
}

/** See `Net.inspectTls`. */
export function inspectIdentity(tls: TlsOptions): TlsInspection {
  const problems: TlsProblem[] = [];
  const body = readCertificate(tls.certificate);
  if (body === undefined) problems.push({ part: "certificate", message: "which is not readable" });
  const key = keyPattern.exec(tls.key);
  if (key === null) problems.push({ part: "key", message: "which is not readable" });
  else if (body !== undefined && hashText(key[1]) !== body.keyHash) {
    problems.push({ part: "key", message: "which does not fit the certificate" });
  }
  const trusted = [...tls.authorities.matchAll(authorityPattern)].map((match) => match[1]);
  if (trusted.length === 0) problems.push({ part: "authorities", message: "which holds none" });
  else if (body !== undefined && !trusted.includes(body.issuer)) {
    problems.push({ part: "certificate", message: "which none of the authorities has issued" });
  }
  if (body === undefined) return { problems };
  return { problems, validity: { notBeforeMs: -Infinity, notAfterMs: body.notAfterMs } };
}

/** Throws `invalid` when the own material cannot be used, as the real runtimes do at once. */
export function checkOwnIdentity(tls: TlsOptions): void {
  const body = readCertificate(tls.certificate);
  if (body === undefined) throw new NetError("invalid", "tls: the certificate is not readable");
  const key = keyPattern.exec(tls.key);
  if (key === null) throw new NetError("invalid", "tls: the key is not readable");
  if (hashText(key[1]) !== body.keyHash) {
    throw new NetError("invalid", "tls: the key does not fit the certificate");
  }
  if (tls.authorities.search(authorityPattern) < 0) {
    throw new NetError("invalid", "tls: no authority is readable");
  }
}

export type Verdict =
  | { readonly kind: "verified"; readonly certificate: PeerCertificate }
  | { readonly kind: "rejected"; readonly reason: string };

/** What one side does with the other's certificate. `serverName` is for dialling only. */
export function verifyCertificate(
  own: TlsOptions,
  pem: string,
  options: { readonly wallMs: number; readonly serverName: string | undefined },
): Verdict {
  const rejected = (reason: string): Verdict => ({ kind: "rejected", reason });
  const body = readCertificate(pem);
  if (body === undefined) return rejected("the certificate is not readable or not signed");
  const trusted = [...own.authorities.matchAll(authorityPattern)].map((match) => match[1]);
  if (!trusted.includes(body.issuer)) return rejected("the certificate's authority is unknown");
  if (options.wallMs > body.notAfterMs) return rejected("the certificate has expired");
  if (options.serverName !== undefined && !carriesName(body.names, options.serverName)) {
    return rejected(`the certificate does not carry the name ${options.serverName}`);
  }
  const certificate: PeerCertificate = {
    commonName: body.commonName,
    names: body.names,
    notAfterMs: body.notAfterMs,
    fingerprint: [0, 1, 2, 3].map((seed) => hashText(pem, seed)).join(""),
  };
  const refusal = own.verifyPeer?.(certificate);
  if (refusal !== undefined) return rejected(refusal);
  return { kind: "verified", certificate };
}

function carriesName(names: readonly string[], wanted: string): boolean {
  if (/^[\d.]+$|:/.test(wanted)) return names.includes(`IP:${wanted}`);
  if (names.includes(`DNS:${wanted}`)) return true;
  const dot = wanted.indexOf(".");
  return dot > 0 && names.includes(`DNS:*${wanted.slice(dot)}`);
}

/** A number that stands for the first bytes of a handshake, where they reach a plain listener. */
export function helloBytes(certificate: string): Uint8Array {
  const hash = xxh64(encodeText(certificate));
  return encodeText(`\x16\x03\x01${hash.toString(16)}`);
}
