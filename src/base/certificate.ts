/** What is known of certificates: a peer's, and the node's own. */

export interface PeerCertificate {
  /** Subject common name, empty when it has none. */
  readonly commonName: string;
  /** Subject alternative names with their kind in front: `DNS:a`, `URI:covey:node:…`, `IP:::1`. */
  readonly names: readonly string[];
  /** End of validity, wall-clock milliseconds. */
  readonly notAfterMs: number;
  /** SHA-256 over the DER form, lower-case hexadecimal. */
  readonly fingerprint: string;
}

/** When a certificate is good, in wall-clock milliseconds. */
export interface Validity {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** One part of a node's TLS material that cannot be used. */
export interface TlsProblem {
  readonly part: "certificate" | "key" | "authorities";
  /** As it follows the file's name: `which holds no certificate`. */
  readonly message: string;
}

/** What a node's own TLS material is worth. */
export interface TlsInspection {
  readonly problems: readonly TlsProblem[];
  /** Of the own certificate; absent when it cannot be read. */
  readonly validity?: Validity;
}

export const dayMs = 86_400_000;
/** How long before its end a certificate is warned about. */
const noticeMs = 30 * dayMs;

/** What is to be said about the own certificate now; undefined when it is good for long. */
export function certificateWarning(
  { notBeforeMs, notAfterMs }: Validity,
  nowMs: number,
): string | undefined {
  const what = "the node's own certificate (tls.certificate_file)";
  const now = `and the clock says ${formatUtc(nowMs)}: other nodes refuse it; renew it and start ` +
    "the node again, or set the clock";
  if (nowMs < notBeforeMs) return `${what} is not good before ${formatUtc(notBeforeMs)}, ${now}`;
  if (nowMs > notAfterMs) return `${what} expired at ${formatUtc(notAfterMs)}, ${now}`;
  const leftMs = notAfterMs - nowMs;
  if (leftMs >= noticeMs) return undefined;
  const days = Math.floor(leftMs / dayMs);
  const left = days < 1 ? "less than a day" : days === 1 ? "a day" : `${days} days`;
  return `${what} expires at ${
    formatUtc(notAfterMs)
  }, in ${left}: renew it and start the node again`;
}

/** A time of the wall clock from 1970 on as `2026-11-22 00:45 UTC`. */
export function formatUtc(wallMs: number): string {
  let days = Math.floor(wallMs / dayMs);
  let year = 1970;
  for (; days >= daysOfYear(year); year++) days -= daysOfYear(year);
  const lengths = [31, daysOfYear(year) - 337, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
  let month = 0;
  for (; days >= lengths[month]; month++) days -= lengths[month];
  const minutes = Math.floor(wallMs / 60_000) % 1440;
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${year}-${two(month + 1)}-${two(days + 1)} ${two(Math.floor(minutes / 60))}:` +
    `${two(minutes % 60)} UTC`;
}

function daysOfYear(year: number): number {
  return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 366 : 365;
}
