/** Paths as another process can use them, wherever it was started. */
import { type Address, plainPath, socketBytesMax } from "../base/address.ts";
import { encodeText } from "../base/bytes.ts";
import { Code, CoveyError } from "../base/error.ts";
import { type Host, NetError } from "../runtime/port.ts";

/** The absolute form; `what` is the setting, for when nobody knows the working directory. */
export function absolutePath(host: Pick<Host, "directory">, path: string, what: string): string {
  return plainPath(path.startsWith("/") ? path : `${directoryOf(host, path, what)}/${path}`);
}

function directoryOf(host: Pick<Host, "directory">, path: string, what: string): string {
  try {
    return host.directory;
  } catch (error) {
    if (!(error instanceof NetError)) throw error;
    throw new CoveyError(
      error.kind === "denied" ? Code.permissionDenied : Code.failedPrecondition,
      `${what} ${path} is relative, and the working directory cannot be read (${error.message}): ` +
        "name an absolute path",
      { cause: error },
    );
  }
}

/** The absolute form of a unix socket's address; others stay as they are. */
export function absoluteAddress(
  host: Pick<Host, "directory">,
  address: Address,
  what: string,
): Address {
  if (address.kind !== "unix") return address;
  const path = absolutePath(host, address.path, what);
  const bytes = encodeText(path).length;
  if (bytes <= socketBytesMax) return { kind: "unix", path };
  throw new CoveyError(
    Code.failedPrecondition,
    `${what} unix:${address.path}: the whole path, ${path}, has ${bytes} bytes, and a unix socket ` +
      `allows ${socketBytesMax}: name a shorter one`,
  );
}
