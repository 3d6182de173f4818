/**
 * What a node's own certificate, key and authorities are worth, before any socket is opened with
 * them: Bun notices a wrong pair when it listens, Deno's engine never.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import type { TlsInspection, TlsProblem } from "../base/certificate.ts";
import { messageOf } from "./error.ts";
import type { TlsOptions } from "./port.ts";
import { readValidity } from "./x509.ts";

const beginPattern = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/g;
const blockPattern =
  /-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----(?:(?!-----BEGIN )[^])*?-----END \1-----/g;

/** See `Net.inspectTls`. */
export function inspectTls(options: TlsOptions): TlsInspection {
  const problems: TlsProblem[] = [];
  const say = (part: TlsProblem["part"], message: string): undefined => {
    problems.push({ part, message });
  };
  const read = (part: "certificate" | "authorities"): X509Certificate[] | undefined => {
    const blocks = options[part].match(blockPattern) ?? [];
    const begun = options[part].match(beginPattern)?.length ?? 0;
    if (begun === 0) return say(part, "which holds no certificate");
    if (begun > blocks.length) return say(part, "which ends within a certificate");
    try {
      return blocks.map((block) => new X509Certificate(block));
    } catch (error) {
      return say(part, `which holds a certificate that cannot be read (${messageOf(error)})`);
    }
  };
  const chain = read("certificate");
  const authorities = read("authorities");
  let key: KeyObject | undefined;
  try {
    key = createPrivateKey(options.key);
  } catch (error) {
    say("key", `which holds no key that can be read without a passphrase (${messageOf(error)})`);
  }
  if (chain === undefined) return { problems };
  const [own] = chain;
  if (key !== undefined && !own.checkPrivateKey(key)) {
    say("key", "which holds the key of another certificate");
  }
  if (authorities !== undefined && !isIssued(chain, authorities)) {
    say("certificate", "which holds a certificate that none of the authorities has issued");
  }
  return { problems, validity: readValidity(own.raw) };
}

/** Whether the first of the chain leads to an authority; true also when that cannot be found out. */
function isIssued(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
): boolean {
  let [current] = chain;
  try {
    // Each step goes to another certificate of the file, so that there are no more of them.
    for (const _step of chain) {
      if (authorities.some((one) => isSame(one, current) || hasIssued(one, current))) return true;
      const next = chain.find((one) => !isSame(one, current) && hasIssued(one, current));
      if (next === undefined) return false;
      current = next;
    }
  } catch {
    // A kind of signature that is not known here is for the handshake to judge.
    return true;
  }
  return false;
}

function isSame(a: X509Certificate, b: X509Certificate): boolean {
  return a.fingerprint256 === b.fingerprint256;
}

function hasIssued(issuer: X509Certificate, subject: X509Certificate): boolean {
  return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}
