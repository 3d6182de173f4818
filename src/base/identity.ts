/**
 * Who is on the other end of a connection, decided once, before any handler runs, from what the
 * transport verified. Every module sees this same shape; only `src/security/` decides on it.
 */
export interface Identity {
  /**
   * `local`: a process on this machine that could open the unix socket in the data directory.
   * `certificate`: a TLS peer whose certificate was verified. `token`: the bearer of a token.
   * `anonymous`: nothing is known.
   */
  readonly kind: "local" | "certificate" | "token" | "anonymous";
  /** For people and logs: a certificate's common name, a token's id, a process id. */
  readonly name: string;
  /** The node id of a certificate, 32 hexadecimal digits. */
  readonly nodeId?: string;
  /** The role of a certificate or token. */
  readonly role?: string;
}

/** The identity of a peer about which nothing is known. */
export const anonymous: Identity = { kind: "anonymous", name: "anonymous" };
