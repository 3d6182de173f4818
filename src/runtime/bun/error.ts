/** What Bun throws, turned into the closed sets of kinds that the port promises. */
import { DiskError, type DiskErrorKind, NetError, type NetErrorKind } from "../port.ts";

const netKinds: Readonly<Record<string, NetErrorKind>> = {
  ECONNREFUSED: "refused",
  ETIMEDOUT: "timeout",
  ECONNRESET: "reset",
  ECONNABORTED: "reset",
  EPIPE: "reset",
  EADDRINUSE: "in-use",
  ENOENT: "not-found",
  ENOTFOUND: "not-found",
  EAI_AGAIN: "not-found",
  DNS_ENOTFOUND: "not-found",
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
  ERR_INVALID_ARG_TYPE: "invalid",
  ERR_INVALID_ARG_VALUE: "invalid",
  ERR_OUT_OF_RANGE: "invalid",
  EAFNOSUPPORT: "unsupported",
  EMFILE: "limit",
  ENFILE: "limit",
  ENOBUFS: "limit",
  EAGAIN: "limit",
};

/** The code that the system or Bun put on an error; empty when there is none. */
export function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null) return "";
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" ? code : "";
}

/** The text of an error without its class name. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether the TLS library says so: EPROTO is a record that does not decrypt. */
export function isTlsFailure(error: unknown): boolean {
  return /^(EPROTO$|ERR_(SSL|TLS|OSSL|BORINGSSL))/.test(codeOf(error));
}

/** A socket's failure; `doing` says what was tried, "listen on tcp://[::1]:80". */
export function netError(error: unknown, doing: string): NetError {
  if (error instanceof NetError) return error;
  const code = codeOf(error);
  const kind = isTlsFailure(error) ? "tls" : netKinds[code] ?? "other";
  const reason = code === "" ? messageOf(error) : code;
  return new NetError(kind, `${doing}: ${reason}`, error);
}

/** For failures before any peer had a say: what TLS complains about then is our own material. */
export function ownError(error: NetError): NetError {
  return error.kind === "tls" ? new NetError("invalid", error.message, error.cause) : error;
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

/** A file's failure; `doing` says what was tried, "open". */
export function diskError(error: unknown, path: string, doing: string): DiskError {
  if (error instanceof DiskError) return error;
  const code = codeOf(error);
  const reason = code === "" ? messageOf(error) : code;
  return new DiskError(diskKinds[code] ?? "io", path, `${doing}: ${reason}`, error);
}
