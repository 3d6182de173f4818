/** Host names, and what can be looked up under them. */

/** What a look-up asks for, by its name in the DNS. */
export type NameKind = "A" | "AAAA" | "SRV";

/** What each kind of look-up answers, in the order in which it came. */
export interface NameRecords {
  /** IPv4 addresses, dotted. */
  readonly A: readonly string[];
  /** IPv6 addresses, without brackets. */
  readonly AAAA: readonly string[];
  readonly SRV: readonly ServiceRecord[];
}

/** One SRV record, RFC 2782. */
export interface ServiceRecord {
  /** Lower ones are to be tried first. */
  readonly priority: number;
  /** Among equal priorities, how large a share of the clients this one takes. */
  readonly weight: number;
  readonly port: number;
  /** A host name without the dot at its end; empty where the service is said not to exist. */
  readonly target: string;
}

/** Look-ups in flight before one more is refused as `limit`. */
export const lookupsMax = 64;

/**
 * One look-up. What it can end with is `not-found` (nobody has the name, or nothing of this kind; on
 * Deno also when a name server failed or refused, which it does not tell apart), `timeout`,
 * `refused`, `aborted`, `denied`, `invalid` (no host name), `limit` ({@link lookupsMax}), `other`. It
 * never ends with an empty list.
 */
export interface ResolveOptions<K extends NameKind> {
  /** See {@link isHostName}. */
  readonly name: string;
  readonly kind: K;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** The name server to ask, by its address; default: whatever the system asks. */
  readonly server?: { readonly host: string; readonly port: number };
}

/**
 * Whether a text can be a name to look up: labels of 1 to 63 letters, digits, `-` and `_`, 253
 * characters in all, perhaps with a dot at the end. An address is no name.
 */
export function isHostName(text: string): boolean {
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  if (name.length > 253) return false;
  const labels = name.split(".");
  if (!labels.every((label) => /^[A-Za-z0-9_-]{1,63}$/.test(label))) return false;
  // A name that ends in a number is a mistyped IPv4 address (RFC 1123, 2.1).
  return !/^\d+$/.test(labels[labels.length - 1]);
}
