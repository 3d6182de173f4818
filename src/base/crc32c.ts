/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4), synchronous: eight tables, eight bytes a step. Eight
 * steps of one table would wait for each other; these do not.
 */

/** The polynomial, bits reversed. */
const polynomial = 0x82f63b78;

/** Table `t` at `t * 256`: what a byte does to the register when `t` more bytes follow it. */
const tables: Int32Array = makeTables();

function makeTables(): Int32Array {
  const out = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let register = byte;
    for (let bit = 0; bit < 8; bit++) {
      register = (register & 1) === 1 ? register >>> 1 ^ polynomial : register >>> 1;
    }
    out[byte] = register;
  }
  for (let at = 256; at < out.length; at++) {
    const before = out[at - 256];
    out[at] = before >>> 8 ^ out[before & 0xff];
  }
  return out;
}

/**
 * The checksum of `bytes[from, to)`. With `seed`, the checksum of bytes that end in these and that
 * had the checksum `seed` before them: `crc32c(b, 0, n, crc32c(a))` is that of a followed by b.
 */
export function crc32c(bytes: Uint8Array, from = 0, to = bytes.length, seed = 0): number {
  const table = tables;
  let register = ~seed;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    const low = register ^
      (bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24);
    register = table[1792 + (low & 0xff)] ^ table[1536 + (low >>> 8 & 0xff)] ^
      table[1280 + (low >>> 16 & 0xff)] ^ table[1024 + (low >>> 24)] ^
      table[768 + bytes[at + 4]] ^ table[512 + bytes[at + 5]] ^
      table[256 + bytes[at + 6]] ^ table[bytes[at + 7]];
  }
  for (; at < to; at++) register = register >>> 8 ^ table[(register ^ bytes[at]) & 0xff];
  return ~register >>> 0;
}
