/** What both engines put on their errors, and the kinds that the port promises for it. */
import type { DiskErrorKind, NetErrorKind } from "./port.ts";

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
  ERR_SOCKET_BAD_PORT: "invalid",
  EAFNOSUPPORT: "unsupported",
  EMFILE: "limit",
  ENFILE: "limit",
  ENOBUFS: "limit",
  ENOMEM: "limit",
  EAGAIN: "limit",
};

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
  EMFILE: "limit",
  ENFILE: "limit",
};

/** What a socket's error code stands for; undefined for one that the system does not know. */
export function netKindOf(code: string): NetErrorKind | undefined {
  return netKinds[code];
}

/** What a file's error code stands for; `io` for all that have no name of their own. */
export function diskKindOf(code: string): DiskErrorKind {
  return diskKinds[code] ?? "io";
}

/** The code that the system or the engine put on an error; empty when there is none. */
export function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null) return "";
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" ? code : "";
}

/** The text of an error without its class name. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The code where there is one, since it is the same on every engine, else the text. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  return code === "" ? messageOf(error) : code;
}
