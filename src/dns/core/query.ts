/**
 * Reading what clients send, strictly: one question, no answers, perhaps an OPT record, and not a
 * byte behind. The question is kept as it came, because an answer repeats it to the letter.
 */
import { headerBytes, nameBytesMax, RecordType, ResponseCode } from "./protocol.ts";

export interface Query {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** Lower case, one character a byte. A label can hold any byte, a dot among them. */
  readonly labels: readonly string[];
  readonly type: number;
  readonly class: number;
  /** Name, type and class as they came; a view of the message. */
  readonly question: Uint8Array;
  /** What the OPT record says, where there is one. */
  readonly extension: Extension | undefined;
}

export interface Extension {
  readonly version: number;
  readonly udpBytes: number;
  readonly dnssecOk: boolean;
}

/** A message that is answered by its header alone. */
export interface Rejection {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  readonly code: ResponseCode;
}

export type Parsed =
  | { readonly kind: "query"; readonly query: Query }
  | { readonly kind: "rejected"; readonly rejection: Rejection }
  /** Nothing to answer: too short, or an answer itself, which two servers would send for ever. */
  | { readonly kind: "garbage" };

const garbage: Parsed = { kind: "garbage" };

/** Reads one message; never throws. */
export function parseQuery(message: Uint8Array): Parsed {
  if (message.length < headerBytes) return garbage;
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const id = view.getUint16(0);
  const flags = view.getUint16(2);
  if ((flags & 0x8000) !== 0) return garbage;
  const opcode = flags >> 11 & 15;
  const recursionDesired = (flags & 0x0100) !== 0;
  const rejected = (code: ResponseCode): Parsed => ({
    kind: "rejected",
    rejection: { id, opcode, recursionDesired, code },
  });
  if (opcode !== 0) return rejected(ResponseCode.notImplemented);
  const malformed = rejected(ResponseCode.formatError);
  // One question, no answers, no authorities.
  if (view.getUint16(4) !== 1 || view.getUint32(6) !== 0) return malformed;
  const name = readName(message, headerBytes);
  if (name === undefined || name.end + 4 > message.length) return malformed;
  const extension = readAdditional(view, name.end + 4, view.getUint16(10));
  if (extension === "malformed") return malformed;
  return {
    kind: "query",
    query: {
      id,
      recursionDesired,
      labels: name.labels,
      type: view.getUint16(name.end),
      class: view.getUint16(name.end + 2),
      question: message.subarray(headerBytes, name.end + 4),
      extension,
    },
  };
}

/** A name without compression: in a question there is nothing before it to point to. */
function readName(
  message: Uint8Array,
  start: number,
): { readonly labels: readonly string[]; readonly end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  for (;;) {
    if (at >= message.length) return undefined;
    const length = message[at];
    // The two highest bits mark a pointer, or what nobody has defined.
    if (length > 63) return undefined;
    const next = at + 1 + length;
    if (next - start > nameBytesMax) return undefined;
    if (length === 0) return { labels, end: next };
    if (next > message.length) return undefined;
    let label = "";
    for (let byte = at + 1; byte < next; byte++) label += String.fromCharCode(fold(message[byte]));
    labels.push(label);
    at = next;
  }
}

/** ASCII letters to lower case; case means nothing in a name, RFC 4343. */
function fold(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
}

/** The records behind the question, up to the very end of the message. */
function readAdditional(
  view: DataView,
  start: number,
  count: number,
): Extension | undefined | "malformed" {
  let at = start;
  let extension: Extension | undefined;
  for (let record = 0; record < count; record++) {
    const name = skipName(view, at);
    if (name === undefined || name + 10 > view.byteLength) return "malformed";
    const end = name + 10 + view.getUint16(name + 8);
    if (end > view.byteLength) return "malformed";
    if (view.getUint16(name) === RecordType.opt) {
      // It belongs to the root, and there is one at most.
      if (extension !== undefined || name !== at + 1) return "malformed";
      extension = {
        udpBytes: view.getUint16(name + 2),
        version: view.getUint8(name + 5),
        dnssecOk: (view.getUint16(name + 6) & 0x8000) !== 0,
      };
    }
    at = end;
  }
  return at === view.byteLength ? extension : "malformed";
}

/** Where a name ends that may be compressed; a pointer is not followed, for it ends the name. */
function skipName(view: DataView, start: number): number | undefined {
  let at = start;
  while (at < view.byteLength && at - start < nameBytesMax) {
    const length = view.getUint8(at);
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= view.byteLength ? at + 2 : undefined;
    if (length > 63) return undefined;
    at += 1 + length;
  }
  return undefined;
}
