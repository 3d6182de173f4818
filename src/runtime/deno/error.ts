/**
 * What Deno throws, turned into the closed sets of kinds that the port promises.
 *
 * System errors carry their name in `code`. Two matter that do not (tried on 2.9.5): a missing
 * permission is `NotCapable` without a code, and a name that does not resolve is a bare `Error`.
 */
import { DiskError, type DiskErrorKind, NetError, type NetErrorKind } from "../port.ts";

const netKinds: Readonly<Record<string, NetErrorKind>> = {
  ECONNREFUSED: "refused",
  ETIMEDOUT: "timeout",
  ECONNRESET: "reset",
  ECONNABORTED: "reset",
  ENOTCONN: "reset",
  EPIPE: "reset",
  EADDRINUSE: "in-use",
  ENOENT: "not-found",
  ENOTFOUND: "not-found",
  EAI_AGAIN: "not-found",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  ENETDOWN: "unreachable",
  EHOSTDOWN: "unreachable",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  EADDRNOTAVAIL: "invalid",
  EINVAL: "invalid",
  ENAMETOOLONG: "invalid",
  ENOTDIR: "invalid",
  ENOTSOCK: "invalid",
  EAFNOSUPPORT: "unsupported",
  EMFILE: "limit",
  ENFILE: "limit",
  ENOBUFS: "limit",
  EAGAIN: "limit",
};

/** The code that the system or Deno put on an error; empty when there is none. */
export function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null) return "";
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" ? code : "";
}

/** The text of an error without its class name. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether the user did not grant what the call needed. */
export function isMissingPermission(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable;
}

function netKind(error: unknown, code: string): NetErrorKind {
  const known = netKinds[code];
  if (known !== undefined) return known;
  if (/^ERR_(SSL|TLS)/.test(code)) return "tls";
  if (error instanceof Deno.errors.NotSupported) return "unsupported";
  if (error instanceof RangeError || error instanceof TypeError) return "invalid";
  // There is nothing else to tell it by.
  if (messageOf(error).startsWith("failed to lookup address")) return "not-found";
  return "other";
}

/**
 * A socket's failure; `doing` says what was tried, "listen on tcp://[::1]:80", and `flag` which
 * permission that takes, "--allow-net=[::1]:80".
 */
export function netError(error: unknown, doing: string, flag?: string): NetError {
  if (error instanceof NetError) return error;
  if (isMissingPermission(error)) return netDenied(doing, flag ?? "--allow-net", error);
  const code = codeOf(error);
  const reason = code === "" ? messageOf(error) : code;
  return new NetError(netKind(error, code), `${doing}: ${reason}`, error);
}

/** The error of a missing permission, with the flag that grants it. */
export function netDenied(doing: string, flag: string, cause?: unknown): NetError {
  return new NetError("denied", `${doing}: Deno needs the permission ${flag}`, cause);
}

const diskKinds: Readonly<Record<string, DiskErrorKind>> = {
  ENOENT: "not-found",
  EEXIST: "exists",
  ENOTEMPTY: "exists",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
  ENOSPC: "full",
  EDQUOT: "full",
  EAGAIN: "busy",
  EWOULDBLOCK: "busy",
  EBUSY: "busy",
  EFBIG: "too-large",
  ENOTDIR: "not-a-directory",
  EISDIR: "is-a-directory",
};

/**
 * A file's failure; `doing` says what was tried, "open", and `flags` the names of the permissions
 * that it takes on that path, ["read", "write"].
 */
export function diskError(
  error: unknown,
  path: string,
  doing: string,
  permissions: readonly string[],
): DiskError {
  if (error instanceof DiskError) return error;
  if (isMissingPermission(error)) {
    const flags = permissions.map((name) =>
      name.startsWith("--") ? name : `--allow-${name}=${path}`
    );
    const message = `${doing}: Deno needs the permission ${flags.join(" ")}`;
    return new DiskError("denied", path, message, error);
  }
  const code = codeOf(error);
  const reason = code === "" ? messageOf(error) : code;
  return new DiskError(diskKinds[code] ?? "io", path, `${doing}: ${reason}`, error);
}
