/**
 * What Deno throws, turned into the closed sets of kinds that the port promises.
 *
 * System errors carry their name in `code`. Two matter that do not (tried on 2.9.5): a missing
 * permission is `NotCapable` without a code, and a name that does not resolve is a bare `Error`.
 */
import { codeOf, diskKindOf, messageOf, netKindOf, reasonOf } from "../error.ts";
import { DiskError, NetError, type NetErrorKind } from "../port.ts";

/** Whether the user did not grant what the call needed. */
export function isMissingPermission(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable;
}

function netKind(error: unknown, code: string): NetErrorKind {
  const known = netKindOf(code);
  if (known !== undefined) return known;
  if (/^ERR_(SSL|TLS)/.test(code)) return "tls";
  if (error instanceof Deno.errors.NotSupported) return "unsupported";
  if (error instanceof RangeError || error instanceof TypeError) return "invalid";
  // A host that no name or address looks like.
  if (error instanceof URIError) return "invalid";
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
  return new NetError(netKind(error, codeOf(error)), `${doing}: ${reasonOf(error)}`, error);
}

/** The error of a missing permission, with the flag that grants it. */
export function netDenied(doing: string, flag: string, cause?: unknown): NetError {
  return new NetError("denied", `${doing}: Deno needs the permission ${flag}`, cause);
}

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
  return new DiskError(diskKindOf(codeOf(error)), path, `${doing}: ${reasonOf(error)}`, error);
}
