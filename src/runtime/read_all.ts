/** Reading a file to its end, for both engines. */
import { DiskError, type DiskFile } from "./port.ts";

/** The whole file, or `too-large`. Files of /proc say a size of 0 and hold text. */
export async function readAll(
  file: DiskFile,
  path: string,
  bytesMax: number,
): Promise<Uint8Array> {
  const size = await file.size();
  const tooLarge = (found: string) =>
    new DiskError("too-large", path, `read: ${found}, at most ${bytesMax} are allowed`);
  if (size > bytesMax) throw tooLarge(`${size} bytes`);
  // One byte more shows that the end was met.
  let bytes = new Uint8Array(Math.min(Math.max(size + 1, 4096), bytesMax + 1));
  let count = 0;
  for (;;) {
    count += await file.read(bytes.subarray(count), count);
    if (count > bytesMax) throw tooLarge(`more than ${bytesMax} bytes`);
    if (count < bytes.length) return bytes.subarray(0, count);
    const grown = new Uint8Array(Math.min(bytes.length * 2, bytesMax + 1));
    grown.set(bytes);
    bytes = grown;
  }
}
