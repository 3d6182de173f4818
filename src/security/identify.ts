/** The identity of a connection, from what its transport verified. */
import { anonymous, type Identity } from "../base/identity.ts";
import type { Peer, PeerCertificate } from "../runtime/port.ts";

/** A certificate's SAN that names the node: `URI:covey:node:<32 hexadecimal digits>`. */
const nodeUri = /^URI:covey:node:([0-9a-f]{32})$/;
/** The same for its role: `URI:covey:role:voter`. */
const roleUri = /^URI:covey:role:([a-z][a-z0-9-]{0,31})$/;

/**
 * A unix socket's file lets in only those whom its permissions let in: they are local. An abstract
 * socket has no permissions, and TCP without a certificate proves nothing.
 */
export function identify(peer: Peer): Identity {
  if (peer.certificate !== undefined) return fromCertificate(peer.certificate);
  if (peer.local.kind === "unix") {
    const name = peer.credentials === undefined
      ? "unix socket"
      : `pid ${peer.credentials.pid} uid ${peer.credentials.uid}`;
    return { kind: "local", name };
  }
  return anonymous;
}

function fromCertificate(certificate: PeerCertificate): Identity {
  let nodeId: string | undefined;
  let role: string | undefined;
  for (const name of certificate.names) {
    nodeId ??= nodeUri.exec(name)?.[1];
    role ??= roleUri.exec(name)?.[1];
  }
  return {
    kind: "certificate",
    name: certificate.commonName || certificate.fingerprint,
    nodeId,
    role,
  };
}
