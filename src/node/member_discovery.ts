/** Where this node looks for members, as the configuration asks for it. */
import type { Logger } from "../base/log.ts";
import type { MetricsRegistry } from "../base/metrics.ts";
import type { Config } from "../config/types.ts";
import { DiscoveryCounters } from "../discovery/counters.ts";
import { createDiscovery } from "../discovery/create.ts";
import type { Discovery } from "../discovery/discovery.ts";
import { showDiscoveryMetrics } from "../discovery/metrics.ts";
import type { Members } from "../membership/members.ts";
import type { Runtime } from "../runtime/port.ts";

export interface MemberDiscoveryParts {
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly members: Members;
  /** Where other nodes reach this one. */
  readonly address: string;
  readonly discovery: Config["discovery"];
}

/** Looks for members until it is stopped. Throws `invalid_argument` that names what cannot be. */
export function discoverMembers(parts: MemberDiscoveryParts): Discovery {
  const { runtime, logger, metrics, members, address, discovery: wanted } = parts;
  const counters = new DiscoveryCounters();
  const lan = {
    group: wanted.lan_group,
    port: wanted.lan_port,
    ttl: wanted.lan_ttl,
    intervalMs: wanted.lan_interval,
    ...(wanted.lan_interface === "" ? {} : { interface: wanted.lan_interface }),
  };
  const discovery = createDiscovery({
    net: runtime.net,
    clock: runtime.clock,
    random: runtime.random,
    logger,
    counters,
    address,
    cluster: () => members.clusterId,
  }, {
    seeds: wanted.seeds,
    dns: { intervalMs: wanted.dns_interval },
    ...(wanted.lan ? { lan } : {}),
  });
  showDiscoveryMetrics(metrics, discovery, counters);
  discovery.start((candidates) => members.look(candidates.map((one) => one.address)));
  return discovery;
}
