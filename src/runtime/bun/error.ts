/** What Bun throws, turned into the closed sets of kinds that the port promises. */
import { codeOf, diskKindOf, netKindOf, reasonOf } from "../error.ts";
import { DiskError, NetError } from "../port.ts";

export { codeOf } from "../error.ts";

/** Whether the TLS library says so: EPROTO is a record that does not decrypt. */
export function isTlsFailure(error: unknown): boolean {
  return /^(EPROTO$|ERR_(SSL|TLS|OSSL|BORINGSSL))/.test(codeOf(error));
}

/** A socket's failure; `doing` says what was tried, "listen on tcp://[::1]:80". */
export function netError(error: unknown, doing: string): NetError {
  if (error instanceof NetError) return error;
  const kind = isTlsFailure(error) ? "tls" : netKindOf(codeOf(error)) ?? "other";
  return new NetError(kind, `${doing}: ${reasonOf(error)}`, error);
}

/** For failures before any peer had a say: what TLS complains about then is our own material. */
export function ownError(error: NetError): NetError {
  return error.kind === "tls" ? new NetError("invalid", error.message, error.cause) : error;
}

/** A file's failure; `doing` says what was tried, "open". */
export function diskError(error: unknown, path: string, doing: string): DiskError {
  if (error instanceof DiskError) return error;
  return new DiskError(diskKindOf(codeOf(error)), path, `${doing}: ${reasonOf(error)}`, error);
}
