/**
 * SO_PEERCRED through the C library, loaded only when a listener asks for it: the kernel's own
 * word on who connected to a unix socket.
 */
import { NetError, type PeerCredentials } from "../port.ts";
import { openLibc } from "./libc.ts";

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** Reads the credentials of the peer of a connected unix socket. */
export type CredentialsReader = (descriptor: number) => PeerCredentials | undefined;

/** Loads the reader, or throws `unsupported` where the system has no such call. */
export function loadCredentialsReader(): CredentialsReader {
  const libc = openLibc();
  if (libc === undefined) {
    throw new NetError("unsupported", "peer credentials need the C library's getsockopt on Linux");
  }
  // struct ucred: pid, uid, gid, four bytes each.
  const record = new Int32Array(3);
  const length = new Uint32Array(1);
  return (descriptor) => {
    length[0] = record.byteLength;
    if (libc.getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, record, length) !== 0) {
      return undefined;
    }
    return { pid: record[0], uid: record[1] >>> 0, gid: record[2] >>> 0 };
  };
}
