/** The whole of standard input, for values and transactions. */
import { concatBytes } from "../../base/bytes.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";

/** No store takes commands as large as this. */
const inputBytesMax = 16 << 20;

/** Every byte of it; `hint` tells whoever sits at the terminal what to do. */
export async function readInput(
  { runtime: { host }, note }: CliContext,
  hint: string,
): Promise<Uint8Array> {
  if (host.isTerminal("stdin")) note(hint);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of host.stdin()) {
    bytes += chunk.length;
    if (bytes > inputBytesMax) {
      throw new UsageError("standard input is larger than any command may be");
    }
    chunks.push(chunk.slice());
  }
  return concatBytes(chunks);
}
