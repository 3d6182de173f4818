/**
 * Forgetting on purpose. Values are immutable, so this is for operators: a source was wrong, or
 * something must not be kept. Everywhere means at every member of the view, since any may have
 * copies.
 */
import { badKey } from "./refusal.ts";
import type { CacheMember } from "./cluster.ts";
import type { CacheModule } from "./cache_module.ts";
import { Code, CoveyError } from "../base/error.ts";

export interface Removal {
  readonly namespace: string;
  /** Empty for the whole namespace. */
  readonly key: string;
  /** What the caller has left. */
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal;
}

/** How long a member may take, where the caller gives no time. */
const memberMs = 5000;
/** The part of the caller's time that a round may take: the answer needs some, too. */
const roundShare = 0.45;

/** Gives how many values it were. */
export function removeHere(module: CacheModule, namespace: string, key: string): number {
  if (key.length > module.settings.keyBytesMax) {
    throw badKey("key_too_large", module.settings.keyBytesMax);
  }
  return module.namespace(namespace)?.remove(key === "" ? undefined : key) ?? 0;
}

/**
 * Twice: a member may have taken a copy from another one between its own turn and that one's.
 * After the first round nobody has the value, nor a fill whose value it would keep; what was copied
 * meanwhile goes in the second.
 */
export async function removeEverywhere(
  module: CacheModule,
  removal: Removal,
): Promise<{ readonly removed: number; readonly unreached: string[] }> {
  const { timeoutMs } = removal;
  const roundMs = timeoutMs === undefined ? memberMs : timeoutMs * roundShare;
  const unreached = new Set<string>();
  let removed = 0;
  for (let round = 0; round < 2; round++) {
    removed += removeHere(module, removal.namespace, removal.key);
    const answers = module.owners.others.filter(({ address }) => !unreached.has(address))
      .map(async (member) => {
        try {
          return await removeAt(module, member, removal, roundMs);
        } catch (error) {
          const { rawMessage } = CoveyError.from(error);
          module.logger.warning("a member did not forget what it was told to", {
            address: member.address,
            namespace: removal.namespace,
            error: rawMessage,
          });
          unreached.add(member.address);
          return 0;
        }
      });
    for (const count of await Promise.all(answers)) removed += count;
  }
  return { removed, unreached: [...unreached].sort() };
}

async function removeAt(
  module: CacheModule,
  member: CacheMember,
  { namespace, key, signal }: Removal,
  timeoutMs: number,
): Promise<number> {
  try {
    const options = { timeoutMs, signal };
    const { removed } = await module.owners.client(member).remove({ namespace, key }, options);
    return Number(removed);
  } catch (error) {
    // A member without a cache has nothing to forget.
    if (error instanceof CoveyError && error.code === Code.unimplemented) return 0;
    throw error;
  }
}
