/** What is kept for long must not keep more alive than it is itself. */

/** Up to here a copy is cheaper than to look at the buffer, which the engine then has to make. */
const copiedBytesMax = 1024;

/**
 * The bytes as an array that is nobody else's part: a view of a larger buffer, of a slab for
 * instance, would keep all of it. A large array that is whole is taken as it is.
 */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  if (length > copiedBytesMax) {
    const { buffer } = bytes;
    const isWhole = buffer instanceof ArrayBuffer && buffer.byteLength === length &&
      !buffer.resizable;
    if (isWhole) return bytes;
  }
  const copy = new Uint8Array(length);
  copy.set(bytes);
  return copy;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A string of its own: one cut out of a longer one keeps that one. */
export function ownText(text: string): string {
  return decoder.decode(encoder.encode(text));
}
