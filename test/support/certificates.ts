/**
 * Certificates for tests, made anew in each process: a good pair and one of each bad kind. ECDSA
 * P-256, so that making them takes milliseconds.
 */
// x509's container library wants this polyfill to be there before it loads.
import "npm:reflect-metadata@0.2.2";
import * as x509 from "npm:@peculiar/x509@2.2.0";

/** A certificate with its key, PEM. */
export interface Pair {
  readonly certificate: string;
  readonly key: string;
  readonly commonName: string;
  /** Alternative names as the port writes them, in the certificate's order. */
  readonly names: readonly string[];
  readonly notAfterMs: number;
}

/** An authority and what it signs, and one that nobody trusts. */
export interface CertificateSet {
  /** The authority that all but `rogue` chain to. */
  readonly authorities: string;
  /** Another authority, which signed `rogue`. */
  readonly otherAuthorities: string;
  /** For `localhost`, 127.0.0.1 and ::1, with a node id and a role in URIs. */
  readonly good: Pair;
  /** As good as `good`, of another name: what a renewal brings. */
  readonly renewed: Pair;
  /** Signed by an authority that bears the same name as the trusted one. */
  readonly rogue: Pair;
  readonly expired: Pair;
  /** Good, but for another host. */
  readonly wrongName: Pair;
  /** Good for another host, with a URI that reads like the right host when names are joined. */
  readonly trickyName: Pair;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const dayMs = 86_400_000;

function makeKeys(): Promise<CryptoKeyPair> {
  return crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as Promise<CryptoKeyPair>;
}

interface Authority {
  readonly certificate: x509.X509Certificate;
  readonly keys: CryptoKeyPair;
}

async function makeAuthority(): Promise<Authority> {
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: "01",
    name: "CN=covey test authority",
    notBefore: new Date(Date.now() - dayMs),
    notAfter: new Date(Date.now() + dayMs),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
    ],
  });
  return { certificate, keys };
}

interface LeafOptions {
  readonly commonName: string;
  readonly names: readonly x509.JsonGeneralName[];
  readonly fromMs?: number;
  readonly untilMs?: number;
}

async function makeLeaf(authority: Authority, options: LeafOptions): Promise<Pair> {
  const keys = await makeKeys();
  const { fromMs = -dayMs, untilMs = dayMs } = options;
  // A certificate holds whole seconds.
  const notAfterMs = Math.floor((Date.now() + untilMs) / 1000) * 1000;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: crypto.randomUUID().replaceAll("-", ""),
    subject: `CN=${options.commonName}`,
    issuer: authority.certificate.subject,
    notBefore: new Date(Date.now() + fromMs),
    notAfter: new Date(notAfterMs),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: authority.keys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([...options.names]),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    certificate: certificate.toString("pem"),
    key: x509.PemConverter.encode(pkcs8, "PRIVATE KEY"),
    commonName: options.commonName,
    names: options.names.map(portName),
    notAfterMs,
  };
}

function portName(name: x509.JsonGeneralName): string {
  const kind = { dns: "DNS", ip: "IP", url: "URI" }[name.type as string] ?? name.type;
  return `${kind}:${name.value}`;
}

const localNames: readonly x509.JsonGeneralName[] = [
  { type: "dns", value: "localhost" },
  { type: "ip", value: "127.0.0.1" },
  { type: "ip", value: "::1" },
  { type: "url", value: "covey:node:00112233445566778899aabbccddeeff" },
  { type: "url", value: "covey:role:voter" },
];

/** Makes one of each. */
export async function makeCertificates(): Promise<CertificateSet> {
  const trusted = await makeAuthority();
  const other = await makeAuthority();
  return {
    authorities: trusted.certificate.toString("pem"),
    otherAuthorities: other.certificate.toString("pem"),
    good: await makeLeaf(trusted, { commonName: "good", names: localNames }),
    renewed: await makeLeaf(trusted, { commonName: "renewed", names: localNames }),
    rogue: await makeLeaf(other, { commonName: "rogue", names: localNames }),
    expired: await makeLeaf(trusted, {
      commonName: "expired",
      names: localNames,
      fromMs: -dayMs,
      untilMs: -dayMs / 2,
    }),
    wrongName: await makeLeaf(trusted, {
      commonName: "wrong",
      names: [{ type: "dns", value: "elsewhere.example" }],
    }),
    trickyName: await makeLeaf(trusted, {
      commonName: "tricky",
      names: [{ type: "url", value: "covey:x, DNS:localhost, IP Address:127.0.0.1" }],
    }),
  };
}
