/** One view of the cluster, arranged by the names that are asked for. */
import { parseAddress } from "../../base/address.ts";
import { CoveyError } from "../../base/error.ts";
import { parseIp } from "../../base/ip_address.ts";
import { isHostName } from "../../base/name_lookup.ts";

/** A member as it is shown to tools. */
export interface DnsMember {
  /** `name.node.covey`; what is no host name, a space in it for instance, is not shown. */
  readonly name: string;
  /** Where its mesh listener is reached, `tcp://10.0.0.1:7946`. */
  readonly address: string;
  /** Short names, each `name.service.covey`; see {@link serviceLabel}. */
  readonly services: readonly string[];
  /** Each `tag.name.service.covey` with every service of the member. */
  readonly tags: readonly string[];
}

/** What the members agreed on. Whoever hands it in hands in another object once it changes. */
export interface DnsView {
  readonly epoch: number;
  readonly members: readonly DnsMember[];
  /** The name of this node, as name server of the zone. */
  readonly self: string;
}

/** A member under its name. */
export interface Entry {
  /** Lower case. */
  readonly name: string;
  readonly port: number;
  readonly tags: ReadonlySet<string>;
  /** Undefined for a member that is reached by other means than TCP. */
  readonly host: Host | undefined;
}

export type Host =
  | { readonly kind: "ip"; readonly ip: Uint8Array }
  | { readonly kind: "name"; readonly name: string };

/** What a full protobuf service name is called in a DNS name: `acme.plant.v1.Pumps` is `pumps`. */
export function serviceLabel(fullName: string): string {
  return fullName.slice(fullName.lastIndexOf(".") + 1).toLowerCase();
}

export class Directory {
  readonly epoch: number;
  /** The name of this node, where it is one that can be shown. */
  readonly self: string | undefined;
  readonly nodes: ReadonlyMap<string, Entry>;
  readonly services: ReadonlyMap<string, readonly Entry[]>;
  /** Every tag of a member that offers a service. */
  readonly tags: ReadonlySet<string>;
  /** Names without records that others lie below: for a node `gw.plant`, `plant`. */
  readonly nodeParents: ReadonlySet<string>;
  readonly serviceParents: ReadonlySet<string>;
  /** Names of members and services that are no host names. */
  readonly hidden: number;

  /** `entries` may be one's own for this view, or be kept for the next ones. */
  constructor(view: DnsView, entries: EntryMaker) {
    const nodes = new Map<string, Entry>();
    const services = new Map<string, Entry[]>();
    const tags = new Set<string>();
    let hidden = 0;
    for (const member of view.members) {
      const name = member.name.toLowerCase();
      // The first of two that differ in case alone has the name.
      if (!isShown(name) || nodes.has(name)) {
        hidden++;
        continue;
      }
      const entry = entries.of(name, member);
      nodes.set(name, entry);
      for (const service of new Set(member.services.map((one) => one.toLowerCase()))) {
        if (!isShown(service)) {
          hidden++;
          continue;
        }
        const offering = services.get(service);
        if (offering === undefined) services.set(service, [entry]);
        else offering.push(entry);
      }
      if (member.services.length > 0) { for (const tag of entry.tags) tags.add(tag); }
    }
    const self = view.self.toLowerCase();
    this.epoch = view.epoch;
    this.self = nodes.has(self) ? self : undefined;
    this.nodes = nodes;
    this.services = services;
    this.tags = tags;
    this.nodeParents = parents(nodes.keys());
    this.serviceParents = parents(services.keys());
    this.hidden = hidden;
  }
}

/** Short enough that the zone, `_tcp` and a tag still fit around it. */
function isShown(name: string): boolean {
  // Below the zone a label of digits alone is as good as any other.
  return name.length <= shownCharactersMax && isHostName(`${name}.zone`);
}

const shownCharactersMax = 100;

/** Makes entries, and gives those of members that did not change again: views have most in common. */
export class EntryMaker {
  readonly #domain: string;
  readonly #known = new WeakMap<DnsMember, Entry>();

  /** `domain` is the zone's: an address below it would be answered with itself. */
  constructor(domain: string) {
    this.#domain = domain;
  }

  of(name: string, member: DnsMember): Entry {
    const known = this.#known.get(member);
    if (known !== undefined) return known;
    const entry = entryOf(name, member, this.#domain);
    this.#known.set(member, entry);
    return entry;
  }
}

function entryOf(name: string, member: DnsMember, domain: string): Entry {
  const tags = new Set(member.tags.map((tag) => tag.toLowerCase()));
  const nowhere: Entry = { name, tags, port: 0, host: undefined };
  let address;
  try {
    address = parseAddress(member.address);
  } catch (error) {
    // A member whose address this build cannot read has a name, and no address.
    if (error instanceof CoveyError) return nowhere;
    throw error;
  }
  if (address.kind !== "tcp") return nowhere;
  const { host, port } = address;
  const ip = parseIp(host);
  if (ip !== undefined) return { name, tags, port, host: { kind: "ip", ip } };
  const alias = host.toLowerCase().replace(/\.$/, "");
  if (!isHostName(alias) || `.${alias}`.endsWith(`.${domain}`)) return nowhere;
  return { name, tags, port, host: { kind: "name", name: alias } };
}

/** Of each name with several labels, what is left when labels are taken off its front. */
function parents(names: Iterable<string>): Set<string> {
  const found = new Set<string>();
  for (const name of names) {
    for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
      found.add(name.slice(dot + 1));
    }
  }
  return found;
}
