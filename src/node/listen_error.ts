/** Why an address cannot be served, in words that say what to do. */
import { type Address, formatAddress, isLoopback } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import { type Disk, DiskError, NetError } from "../runtime/port.ts";

/** What was to be served when it failed. */
export interface ListenAttempt {
  readonly address: Address;
  /** The setting that names it, `node.listen`. */
  readonly what: string;
  readonly tls: boolean;
  /** Where this node listens already. */
  readonly own: readonly Address[];
}

/** One sentence with the address and its key; what no NetError caused passes through. */
export async function cannotListen(
  disk: Disk,
  attempt: ListenAttempt,
  thrown: unknown,
): Promise<unknown> {
  const error = thrown instanceof CoveyError ? thrown.cause : thrown;
  if (!(error instanceof NetError)) return thrown;
  const { address, what } = attempt;
  const code = error.kind === "denied" ? Code.permissionDenied : Code.failedPrecondition;
  const message = `cannot listen on ${formatAddress(address)} (${what})` +
    (await explain(disk, attempt, error));
  return new CoveyError(code, message, { cause: error });
}

/** The rest of the sentence, with what joins it to the beginning. */
async function explain(disk: Disk, attempt: ListenAttempt, error: NetError): Promise<string> {
  const { address, tls, own } = attempt;
  switch (error.kind) {
    case "in-use": {
      const same = own.find((other) => overlap(address, other));
      if (same !== undefined) {
        return `: this node listens there itself, as ${
          formatAddress(same)
        }; choose another address`;
      }
      const kind = address.kind === "unix" ? await kindAt(disk, address.path) : "other";
      return kind === "other"
        ? ": another process listens there already; stop that one, or choose another address"
        : `: a ${kind} of that name is in the way; remove it, or choose another address`;
    }
    case "not-found":
      return address.kind === "tcp"
        ? `: the host name ${JSON.stringify(address.host)} is not known; give an address of this ` +
          "machine"
        : `: its folder does not exist; make it, or choose another address`;
    case "denied":
      return `: ${error.message}` +
        (address.kind === "tcp" && address.port > 0 && address.port < 1024
          ? "; a port below 1024 takes root or CAP_NET_BIND_SERVICE"
          : "");
    default:
      return tls
        ? ` with TLS: ${error.message}; when the address is right, look at ` +
          "tls.certificate_file, tls.key_file and tls.authorities_file"
        : `: ${error.message}` +
          (address.kind === "tcp" && !isLoopback(address)
            ? "; the host must be an address of this machine"
            : "");
  }
}

/** The hosts that stand for every address of the machine. */
const wildcards: readonly string[] = ["0.0.0.0", "::"];

/** Whether the one takes the other's place. Names of loopback count as one. */
function overlap(a: Address, b: Address): boolean {
  if (a.kind === "unix" && b.kind === "unix") return plain(a.path) === plain(b.path);
  if (a.kind !== "tcp" || b.kind !== "tcp") return formatAddress(a) === formatAddress(b);
  if (a.port !== b.port) return false;
  return a.host === b.host || wildcards.includes(a.host) || wildcards.includes(b.host) ||
    (isLoopback(a) && isLoopback(b) && (a.host === "localhost" || b.host === "localhost"));
}

function plain(path: string): string {
  return path.replace(/^(?:\.\/+)+/, "").replace(/\/(?:\.?\/)+/g, "/");
}

async function kindAt(disk: Disk, path: string): Promise<"file" | "folder" | "other"> {
  try {
    const { kind } = await disk.stat(path);
    return kind === "directory" ? "folder" : kind;
  } catch (error) {
    // What may not be looked at, or is gone meanwhile, was in use a moment ago.
    if (error instanceof DiskError) return "other";
    throw error;
  }
}
