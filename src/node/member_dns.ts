/** The agreed view as the DNS server shows it, and the server as the configuration asks for it. */
import { parseAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { MetricsRegistry } from "../base/metrics.ts";
import type { Config } from "../config/types.ts";
import { type DnsMember, type DnsView, serviceLabel } from "../dns/core/directory.ts";
import { showDnsMetrics } from "../dns/metrics.ts";
import { DnsServer } from "../dns/server.ts";
import type { Member } from "../membership/core/member.ts";
import type { Members } from "../membership/members.ts";
import type { Runtime } from "../runtime/port.ts";
import { linesOf, servicesKey, tagsKey } from "./member_facts.ts";

export interface MemberDnsParts {
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
  readonly members: Members;
  readonly dns: Config["dns"];
}

export class MemberDns {
  readonly #server: DnsServer;
  readonly #members: Members;
  readonly #subscription: { cancel(): void };
  #view: DnsView | undefined = undefined;

  /** `listen`: where UDP and TCP are served. */
  constructor(parts: MemberDnsParts, listen: string) {
    const { runtime, logger, metrics, members, dns } = parts;
    this.#members = members;
    const address = parseAddress(listen);
    if (address.kind !== "tcp") {
      throw new CoveyError(Code.invalidArgument, `dns.listen: ${listen} is no tcp://host:port`);
    }
    this.#server = new DnsServer({
      net: runtime.net,
      clock: runtime.clock,
      random: runtime.random,
      logger,
      view: () => this.#view ??= this.#made(),
    }, {
      host: address.host,
      port: address.port,
      domain: dns.domain,
      ttlSeconds: Math.round(dns.ttl / 1_000),
    });
    // Made anew when somebody asks, and not before.
    this.#subscription = members.feed.observe(() => this.#view = undefined);
    showDnsMetrics(metrics, this.#server);
  }

  /** The port, once started. */
  get port(): number {
    return this.#server.port;
  }

  async start(): Promise<void> {
    await this.#server.start();
  }

  stop(): void {
    this.#subscription.cancel();
    this.#server.stop();
  }

  #made(): DnsView | undefined {
    const { view, name } = this.#members;
    if (view === undefined) return undefined;
    const members = view.members.map((member) => this.#shown(member));
    return { epoch: view.epoch, members, self: name };
  }

  #shown(member: Member): DnsMember {
    const facts = this.#members.factsOf(member);
    const services = linesOf(facts.get(servicesKey)).map(serviceLabel);
    const { name, address } = member;
    return { name, address, services: [...new Set(services)], tags: linesOf(facts.get(tagsKey)) };
  }
}
