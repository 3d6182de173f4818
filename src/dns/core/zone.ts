/**
 * What there is to say to a question, as RFC 1034 (4.3.2) has it: which names exist, which records
 * they have, and the difference between a name that nobody has (NXDOMAIN) and one that has nothing
 * of the kind that was asked for (no data).
 *
 * ```text
 * covey                        SOA, NS
 * NAME.node.covey              A or AAAA, SRV; CNAME where a member's address is a host name
 * NAME.service.covey           A, AAAA, SRV of the members that offer it
 * TAG.NAME.service.covey       the same, of those with the tag
 * _NAME._tcp.service.covey     SRV, as RFC 2782 writes it; _TAG in place of _tcp for those with it
 * ```
 */
import type { Prng } from "../../base/prng.ts";
import type { Directory, Entry } from "./directory.ts";
import { RecordType, ResponseCode } from "./protocol.ts";
import type { DnsRecord } from "./writer.ts";

export interface ZoneOptions {
  /** Lower case, one label or several: `covey`. */
  readonly domain: string;
  /** How long an answer may be kept; also one that there is nothing. */
  readonly ttlSeconds: number;
}

export interface ZoneAnswer {
  readonly code: ResponseCode;
  readonly answers: readonly DnsRecord[];
  readonly authority: readonly DnsRecord[];
  readonly additional: readonly DnsRecord[];
  /** Members that the answer leaves out because it would name more than it may. */
  readonly leftOut: number;
}

/** What is under a name. */
type Found =
  | { readonly kind: "none" }
  /** It exists, with nothing but names below. */
  | { readonly kind: "empty" }
  | { readonly kind: "apex" }
  | { readonly kind: "node"; readonly entry: Entry }
  | { readonly kind: "service"; readonly entries: readonly Entry[]; readonly addresses: boolean };

const none: Found = { kind: "none" };
const empty: Found = { kind: "empty" };

/** Equal for all: who is near or idle is not the DNS's to know. */
const priority = 1;
const weight = 1;

export class Zone {
  readonly #options: ZoneOptions;
  readonly #labels: readonly string[];
  readonly #random: Prng;

  constructor(options: ZoneOptions, random: Prng) {
    this.#options = options;
    this.#labels = options.domain.split(".");
    this.#random = random;
  }

  /** Whether a name is the zone's own or below it. */
  holds(labels: readonly string[]): boolean {
    const first = labels.length - this.#labels.length;
    return first >= 0 && this.#labels.every((label, at) => labels[first + at] === label);
  }

  /** Answers a question about a name that the zone holds, with `entriesMax` members at most. */
  answer(
    directory: Directory,
    question: { readonly labels: readonly string[]; readonly type: number },
    entriesMax: number,
  ): ZoneAnswer {
    const labels = question.labels.slice(0, question.labels.length - this.#labels.length);
    const found = labels.every(isPlain) ? find(directory, labels) : none;
    if (found.kind === "none") return this.#negative(directory, ResponseCode.nonexistentDomain);
    if (found.kind === "node" && found.entry.host?.kind === "name") {
      // RFC 1034, 3.6.2: a name that is an alias has nothing else, whatever is asked.
      const target = found.entry.host.name;
      return this.#positive([{ kind: "alias", target, ...this.#ttl }]);
    }
    if (question.type === RecordType.any) {
      return this.#positive([{ kind: "minimal", ...this.#ttl }]);
    }
    switch (found.kind) {
      case "apex":
        return this.#apex(directory, question.type);
      case "node":
        return this.#node(directory, found.entry, question.type);
      case "service":
        return this.#service(directory, found, question.type, entriesMax);
      case "empty":
        return this.#negative(directory, ResponseCode.noError);
    }
  }

  get #ttl(): { readonly ttlSeconds: number } {
    return { ttlSeconds: this.#options.ttlSeconds };
  }

  #apex(directory: Directory, type: number): ZoneAnswer {
    if (type === RecordType.soa) return this.#positive([this.#authority(directory)]);
    const entry = directory.self === undefined ? undefined : directory.nodes.get(directory.self);
    if (type === RecordType.ns && entry !== undefined) {
      const target = this.#nodeName(entry);
      const records: DnsRecord[] = [{ kind: "nameServer", target, ...this.#ttl }];
      return this.#positive(records, this.#addresses([entry], target));
    }
    return this.#negative(directory, ResponseCode.noError);
  }

  #node(directory: Directory, entry: Entry, type: number): ZoneAnswer {
    if (type === RecordType.srv && entry.host !== undefined) {
      return this.#positive(...this.#services([entry]));
    }
    const records = this.#addresses([entry], undefined, type);
    if (records.length > 0) return this.#positive(records);
    return this.#negative(directory, ResponseCode.noError);
  }

  #service(
    directory: Directory,
    found: Found & { readonly kind: "service" },
    type: number,
    entriesMax: number,
  ): ZoneAnswer {
    const isService = type === RecordType.srv;
    const isAddress = type === RecordType.a || type === RecordType.aaaa;
    if (!isService && !(isAddress && found.addresses)) {
      return this.#negative(directory, ResponseCode.noError);
    }
    const length = type === RecordType.a ? 4 : 16;
    // Next to the addresses of others an alias is not allowed: a host name is in SRV records only.
    const fitting = found.entries.filter(({ host }) =>
      host !== undefined && (isService || (host.kind === "ip" && host.ip.length === length))
    );
    if (fitting.length === 0) return this.#negative(directory, ResponseCode.noError);
    const chosen = this.#choose(fitting, entriesMax);
    const leftOut = fitting.length - chosen.length;
    if (isService) return { ...this.#positive(...this.#services(chosen)), leftOut };
    return { ...this.#positive(this.#addresses(chosen)), leftOut };
  }

  /** Some of them in an order of its own each time, so that clients that take the first spread. */
  #choose(entries: readonly Entry[], most: number): Entry[] {
    const rest = [...entries];
    const count = Math.min(most, rest.length);
    for (let at = 0; at < count; at++) {
      const from = this.#random.between(at, rest.length - 1);
      [rest[at], rest[from]] = [rest[from], rest[at]];
    }
    return rest.slice(0, count);
  }

  /** SRV records, and the addresses of their targets. */
  #services(entries: readonly Entry[]): [DnsRecord[], DnsRecord[]] {
    const answers: DnsRecord[] = [];
    const additional: DnsRecord[] = [];
    for (const entry of entries) {
      const { host, port } = entry;
      if (host === undefined) continue;
      // RFC 2782: a target is no alias, so a host name stands for itself.
      const target = host.kind === "name" ? host.name : this.#nodeName(entry);
      answers.push({ kind: "service", priority, weight, port, target, ...this.#ttl });
      additional.push(...this.#addresses([entry], target));
    }
    return [answers, additional];
  }

  /** Each address once, although several members may share a machine. */
  #addresses(entries: readonly Entry[], owner?: string, type?: number): DnsRecord[] {
    const seen = new Set<string>();
    const records: DnsRecord[] = [];
    for (const { host } of entries) {
      if (host?.kind !== "ip" || seen.has(host.ip.join())) continue;
      if (type === RecordType.a && host.ip.length !== 4) continue;
      if (type === RecordType.aaaa && host.ip.length !== 16) continue;
      if (type !== undefined && type !== RecordType.a && type !== RecordType.aaaa) continue;
      seen.add(host.ip.join());
      records.push({ kind: "address", ip: host.ip, owner, ...this.#ttl });
    }
    return records;
  }

  #nodeName({ name }: Entry): string {
    return `${name}.node.${this.#options.domain}`;
  }

  #positive(answers: readonly DnsRecord[], additional: readonly DnsRecord[] = []): ZoneAnswer {
    return { code: ResponseCode.noError, answers, authority: [], additional, leftOut: 0 };
  }

  /** RFC 2308: without an answer, the zone's SOA record says how long to believe it. */
  #negative(directory: Directory, code: ResponseCode): ZoneAnswer {
    const authority = [{ ...this.#authority(directory), owner: this.#options.domain }];
    return { code, answers: [], authority, additional: [], leftOut: 0 };
  }

  #authority({ epoch, self }: Directory): DnsRecord {
    const { domain, ttlSeconds } = this.#options;
    return {
      kind: "authority",
      primary: self === undefined ? domain : `${self}.node.${domain}`,
      mailbox: `hostmaster.${domain}`,
      serial: epoch % 0x100000000,
      negativeSeconds: ttlSeconds,
      ttlSeconds,
    };
  }
}

/** What our own names are made of. */
function isPlain(label: string): boolean {
  return /^[a-z0-9_-]+$/.test(label);
}

/** What is under a name, given without the zone's own labels. */
function find(directory: Directory, labels: readonly string[]): Found {
  if (labels.length === 0) return { kind: "apex" };
  const name = labels.slice(0, -1).join(".");
  switch (labels[labels.length - 1]) {
    case "node": {
      const entry = directory.nodes.get(name);
      if (entry !== undefined) return { kind: "node", entry };
      return name === "" || directory.nodeParents.has(name) ? empty : none;
    }
    case "service":
      return name === "" ? empty : findService(directory, labels.slice(0, -1));
    default:
      return none;
  }
}

function findService(directory: Directory, labels: readonly string[]): Found {
  const { services, serviceParents, tags } = directory;
  const name = labels.join(".");
  const entries = services.get(name);
  if (entries !== undefined) return { kind: "service", entries, addresses: true };
  if (serviceParents.has(name)) return empty;
  const [first, second] = labels;
  if (labels.length === 1) {
    // `_tcp` or a tag, below which services are written as in RFC 2782.
    const protocol = first.startsWith("_") ? first.slice(1) : "";
    return services.size > 0 && (protocol === "tcp" || tags.has(protocol)) ? empty : none;
  }
  if (labels.length === 2 && first.startsWith("_") && second.startsWith("_")) {
    const offering = services.get(first.slice(1));
    if (offering === undefined) return none;
    const chosen = second === "_tcp" ? offering : tagged(offering, second.slice(1));
    return chosen.length === 0 ? none : { kind: "service", entries: chosen, addresses: false };
  }
  const offering = services.get(labels.slice(1).join("."));
  const chosen = offering === undefined ? [] : tagged(offering, first);
  return chosen.length === 0 ? none : { kind: "service", entries: chosen, addresses: true };
}

function tagged(entries: readonly Entry[], tag: string): readonly Entry[] {
  return entries.filter(({ tags }) => tags.has(tag));
}
