/** The cache that members share, with what it has to know of them. */
import type { Logger } from "../base/log.ts";
import { encodeText } from "../base/bytes.ts";
import type { MetricsRegistry } from "../base/metrics.ts";
import { CacheModule } from "../cache/cache_module.ts";
import type { CacheMember } from "../cache/cluster.ts";
import { showCacheMetrics } from "../cache/metrics.ts";
import type { Config } from "../config/types.ts";
import type { Members } from "../membership/members.ts";
import type { Runtime } from "../runtime/port.ts";
import type { ServiceRegistry } from "../ttrpc/registry.ts";
import { cacheKey, linesOf } from "./member_facts.ts";
import type { NodeRpc } from "./rpc.ts";

export interface MemberCacheParts {
  readonly runtime: Runtime;
  readonly config: Config;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly registry: ServiceRegistry;
  readonly members: Members;
  readonly rpc: NodeRpc;
  readonly nodeId: string;
}

const noView = { epoch: 0, digest: 0n, members: [] };

/** Serves it from now on. */
export function makeCache(parts: MemberCacheParts): CacheModule {
  const { runtime, config: { cache, rpc: limits }, members, rpc, nodeId } = parts;
  const factsOf = ({ address }: CacheMember): readonly string[] => {
    const member = members.feed.memberAt(address);
    return member === undefined ? [] : linesOf(members.factsOf(member).get(cacheKey));
  };
  const module = new CacheModule({
    clock: runtime.clock,
    random: runtime.random,
    logger: parts.logger,
    options: {
      memoryBytesMax: cache.memory_bytes_max,
      valueBytesMax: cache.value_bytes_max,
      fillsMax: cache.fills_max,
      fillTimeoutMs: cache.fill_timeout,
      ownerTimeoutMs: cache.owner_timeout,
      messageBytesMax: limits.message_bytes_max,
    },
    cluster: {
      nodeId,
      get current() {
        return members.view ?? noView;
      },
      namespacesOf: factsOf,
      changed: (told) => members.feed.observe(() => told()),
    },
    channel: (address) => rpc.channel(address, { peer: "covey" }),
    onOffered: (names) => {
      members.say(cacheKey, names.length === 0 ? undefined : encodeText(names.join("\n")));
    },
  });
  for (const [service, handlers] of module.services()) parts.registry.add(service, handlers);
  showCacheMetrics(parts.metrics, module);
  return module;
}
