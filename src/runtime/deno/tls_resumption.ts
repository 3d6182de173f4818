/**
 * Which clients may take up an earlier TLS session.
 *
 * Deno seals the session tickets of all servers of a process with one key, whatever a server's
 * options say of tickets, their keys, their time or their context (tried on 2.9.5), and a resumed
 * session brings the certificate that it began with, whose chain nobody looks at again. Without a
 * check, who was once let in by one listener gets into every other one, whomever that trusts, and
 * stays in after the authorities were exchanged. So a session counts only where the same
 * certificate went through a whole handshake under the same authorities before.
 */

/** Sets of authorities that are remembered: one a listener, and those that renewals replaced. */
const authoritiesMax = 16;
/** Clients that are remembered for each; the oldest is forgotten first, and its session refused. */
const clientsMax = 4096;

/** Remembers certificates by what they were verified with. */
export class VerifiedClients {
  readonly #byAuthorities = new Map<string, Set<string>>();

  /** Takes note of a certificate whose chain was verified. */
  add(authorities: string, fingerprint: string): void {
    const known = this.#byAuthorities.get(authorities) ?? new Set();
    keepNewest(known, clientsMax, fingerprint);
    known.add(fingerprint);
    keepNewest(this.#byAuthorities, authoritiesMax, authorities);
    this.#byAuthorities.set(authorities, known);
  }

  /** Whether the certificate was verified with these authorities. */
  has(authorities: string, fingerprint: string): boolean {
    return this.#byAuthorities.get(authorities)?.has(fingerprint) ?? false;
  }
}

/** Makes room for one more: what is in for longest goes. */
function keepNewest(
  collection: Set<string> | Map<string, unknown>,
  most: number,
  next: string,
): void {
  collection.delete(next);
  if (collection.size < most) return;
  for (const oldest of collection.keys()) return void collection.delete(oldest);
}
