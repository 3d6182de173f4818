/** Reads intervals of any size, page by page, as of one revision. */
import { encodeText } from "../../base/bytes.ts";
import { Code, CoveyError } from "../../base/error.ts";
import type { KvClient } from "../../kv/client.ts";
import type { KeyInput, KeySelection, KvRange, RangeOptions } from "../../kv/client_types.ts";

const pageEntries = 500;

/** In the keys' order; `limit` 0 is none. The last page says whether the limit left some out. */
export async function* readPages(
  kv: KvClient,
  keys: KeySelection,
  options: RangeOptions,
): AsyncGenerator<KvRange> {
  const limit = options.limit ?? 0;
  let size = pageEntries;
  let left = limit === 0 ? Infinity : limit;
  let revision = options.revision ?? 0;
  for (let rest = keys;;) {
    let page: KvRange;
    try {
      page = await kv.range(rest, { ...options, revision, limit: Math.min(size, left) });
    } catch (error) {
      // So many do not fit a message.
      const large = error instanceof CoveyError && error.code === Code.resourceExhausted;
      if (!large || size === 1) throw error;
      size = Math.max(1, size >> 3);
      continue;
    }
    // The pages that follow are as of the first.
    if (revision === 0) revision = page.revision;
    left -= page.entries.length;
    const last = page.entries.at(-1);
    if (!page.more || left <= 0 || last === undefined) {
      yield page;
      return;
    }
    yield { ...page, more: false };
    rest = restAfter(keys, last.key);
  }
}

const toBytes = (input: KeyInput): Uint8Array =>
  typeof input === "string" ? encodeText(input) : input;

/** What of the interval comes behind a key of it. */
export function restAfter(keys: KeySelection, key: Uint8Array): KeySelection {
  // The next key that can exist is one zero byte longer.
  const from = new Uint8Array(key.length + 1);
  from.set(key);
  if (typeof keys === "string" || keys instanceof Uint8Array) return { from, to: from };
  const to = "prefix" in keys ? prefixEnd(toBytes(keys.prefix)) : keys.to;
  return to === undefined ? { from } : { from, to };
}

/** The first key behind all with this prefix; undefined when there is none. */
function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return undefined;
  const end = prefix.slice(0, length);
  end[length - 1]++;
  return end;
}
