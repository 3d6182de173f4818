/** What may stand in a WebSocket's close frame (RFC 6455 sections 5.5 and 7.4). */
import { decodeText, encodeText } from "./bytes.ts";

/** A reason is at most this long on the wire, in UTF-8. */
const reasonBytesMax = 123;
/** Nothing that is worth a code of its own. */
const normal = 1000;

/** The code, or 1000 in place of one that none may send: the peer would call it a violation. */
export function closeCode(code: number | undefined): number {
  if (code === undefined) return normal;
  const registered = code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
  return registered || (code >= 3000 && code <= 4999) ? code : normal;
}

/** As much of the reason as fits. */
export function closeReason(reason: string | undefined): string | undefined {
  if (reason === undefined) return undefined;
  const bytes = encodeText(reason);
  if (bytes.length <= reasonBytesMax) return reason;
  let end = reasonBytesMax;
  // A character that would be cut in two is left out: all its bytes but the first are 10xxxxxx.
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return decodeText(bytes.subarray(0, end));
}
