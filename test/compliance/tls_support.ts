/** What the TLS cases share. */
import assert from "node:assert/strict";
import type { Address } from "../../src/base/address.ts";
import type { PeerCertificate, TlsOptions } from "../../src/runtime/port.ts";
import type { CertificateSet, Pair } from "../support/certificates.ts";
import type { World } from "./harness.ts";
import { connectTo, type Probe, text } from "./probe.ts";

/** TLS options for a pair, trusting the set's authority. */
export function tlsOptions(
  set: CertificateSet,
  pair: Pair,
  more: Partial<TlsOptions> = {},
): TlsOptions {
  const { authorities } = set;
  return { certificate: pair.certificate, key: pair.key, authorities, ...more };
}

/** The four facts that the port tells of a certificate. */
export function assertFacts(actual: PeerCertificate | undefined, expected: Pair): void {
  assert.equal(actual?.commonName, expected.commonName);
  assert.deepEqual(actual?.names, expected.names);
  assert.equal(actual?.notAfterMs, expected.notAfterMs);
  assert.match(actual?.fingerprint ?? "", /^[0-9a-f]{64}$/);
}

/**
 * With TLS 1.3 a client is done before the server has seen its certificate, so the dial of a bad
 * client may well succeed. What counts is that nothing crosses and that it ends.
 */
export async function dialInVain(
  world: World,
  probe: Probe,
  tls: TlsOptions,
  address: Address,
): Promise<void> {
  let side;
  try {
    side = await connectTo(world.runtime, address, probe, { tls });
  } catch {
    return;
  }
  side.connection.write(text("from the bad one"));
  await probe.until("the end", () => side.count("end") + side.count("close") > 0);
  side.connection.close();
  await probe.until("close", () => side.count("close") === 1);
  assert.equal(side.received, 0, "a bad client got bytes");
}
