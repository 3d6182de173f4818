/** Discovery as the configuration asks for it. */
import type { Logger } from "../base/log.ts";
import type { Clock, Net, Random } from "../runtime/port.ts";
import { parseSeed } from "./core/seed.ts";
import { CombinedDiscovery } from "./combined.ts";
import { DiscoveryCounters } from "./counters.ts";
import { DnsDiscovery, type DnsDiscoveryOptions } from "./dns.ts";
import type { Discovery } from "./discovery.ts";
import { LanDiscovery, type LanOptions } from "./lan.ts";
import { StaticDiscovery } from "./static.ts";

export interface DiscoveryParts {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly counters?: DiscoveryCounters;
  /** See {@link LanParts}. */
  readonly address: string;
  readonly cluster: () => string;
}

export interface DiscoveryOptions {
  /** Addresses, `dns://name:port` and `srv://name`, in the order in which they are to be tried. */
  readonly seeds: readonly string[];
  readonly dns?: Partial<DnsDiscoveryOptions>;
  /** Absent: no multicast. */
  readonly lan?: Partial<LanOptions>;
  /** What is also asked, such as ways of the program's own. */
  readonly others?: readonly Discovery[];
  /** Default {@link candidatesMaxDefault}. */
  readonly candidatesMax?: number;
}

export const candidatesMaxDefault = 1024;

/** All of it as one; throws `invalid_argument` that names what cannot be. */
export function createDiscovery(parts: DiscoveryParts, options: DiscoveryOptions): Discovery {
  const counters = parts.counters ?? new DiscoveryCounters();
  const whole = { ...parts, counters };
  const seeds = options.seeds.map(parseSeed);
  const addresses = seeds.flatMap((seed) => seed.kind === "address" ? [seed.address] : []);
  const names = seeds.flatMap((seed) => seed.kind === "address" ? [] : [seed]);
  return new CombinedDiscovery([
    new StaticDiscovery(parts.clock, addresses),
    ...names.map((seed) => new DnsDiscovery(whole, seed, options.dns)),
    ...(options.lan === undefined ? [] : [new LanDiscovery(whole, options.lan)]),
    ...(options.others ?? []),
  ], options.candidatesMax ?? candidatesMaxDefault);
}
