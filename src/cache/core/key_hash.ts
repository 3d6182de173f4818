/**
 * The bytes and the hash of a key. Keys are text: on the wire they are UTF-8, and so they are here,
 * whatever the engine keeps them as.
 */
import { type Hash, Murmur } from "./murmur.ts";

/** Why a text is no key. */
export type KeyFault = "key_empty" | "key_too_large" | "key_malformed";

/** The hash of keys of one namespace: one key of two namespaces has two owners. */
export class KeyHash implements Hash {
  readonly #murmur = new Murmur();
  readonly #bytes: Uint8Array;
  readonly #seedHigh: number;
  readonly #seedLow: number;
  /** Bytes of the key that was taken last. */
  length = 0;

  constructor(namespace: string, keyBytesMax: number) {
    const bytes = new Uint8Array(namespace.length * 3);
    const { high, low } = this.#murmur.take(bytes, writeUtf8(namespace, bytes), 1, 2);
    this.#seedHigh = high;
    this.#seedLow = low;
    this.#bytes = new Uint8Array(keyBytesMax);
  }

  get high(): number {
    return this.#murmur.high;
  }

  get low(): number {
    return this.#murmur.low;
  }

  /** Takes a key; what it says is why the key is none. */
  take(key: string): KeyFault | undefined {
    if (key.length === 0) return "key_empty";
    const length = writeUtf8(key, this.#bytes);
    if (length === tooLong) return "key_too_large";
    if (length === malformed) return "key_malformed";
    this.length = length;
    this.#murmur.take(this.#bytes, length, this.#seedHigh, this.#seedLow);
    return undefined;
  }
}

const tooLong = -1;
const malformed = -2;

/** The bytes written; negative when they do not fit, or when half of a surrogate pair is missing. */
function writeUtf8(text: string, target: Uint8Array): number {
  const most = target.length;
  let at = 0;
  for (let index = 0; index < text.length; index++) {
    let code = text.charCodeAt(index);
    if (code < 0x80) {
      if (at >= most) return tooLong;
      target[at++] = code;
      continue;
    }
    if (code >= 0xd800 && code < 0xe000) {
      const second = index + 1 < text.length ? text.charCodeAt(index + 1) : 0;
      if (code >= 0xdc00 || second < 0xdc00 || second > 0xdfff) return malformed;
      code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
      index++;
    }
    const more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    if (at + more >= most) return tooLong;
    target[at++] = more === 1
      ? 0xc0 | code >> 6
      : more === 2
      ? 0xe0 | code >> 12
      : 0xf0 | code >> 18;
    for (let left = more - 1; left >= 0; left--) target[at++] = 0x80 | (code >> (left * 6)) & 0x3f;
  }
  return at;
}
