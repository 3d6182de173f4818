/**
 * Members under a name of the DNS, looked up again and again.
 *
 * What was found stays while later look-ups fail: an address that nobody answers at costs a dial, a
 * name server that is away must not cost the cluster. So does a name that nobody has any more, for
 * not every runtime tells that from a failure.
 */
import { formatAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Clock, NameKind, NameRecords, Net, Random, Timer } from "../runtime/port.ts";
import { Backoff, type BackoffOptions } from "../ttrpc/backoff.ts";
import type { Seed } from "./core/seed.ts";
import type { DiscoveryCounters } from "./counters.ts";
import { type Candidate, type CandidateSink, type Discovery, sameCandidates } from "./discovery.ts";
import { jittered } from "./jitter.ts";

export interface DnsDiscoveryOptions {
  /** Between two look-ups, give or take a tenth. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** After failures. */
  readonly backoff: BackoffOptions;
  /** What one name may give; the rest is left out. */
  readonly candidatesMax: number;
  /** A name server of one's own in place of the system's. */
  readonly server?: { readonly host: string; readonly port: number };
}

export const dnsDiscoveryDefault: DnsDiscoveryOptions = {
  intervalMs: 30_000,
  timeoutMs: 5_000,
  backoff: { firstMs: 1_000, mostMs: 60_000 },
  candidatesMax: 64,
};

export interface DnsDiscoveryParts {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly counters: DiscoveryCounters;
}

export type DnsSeed = Exclude<Seed, { readonly kind: "address" }>;

/** Shares of the interval by which a look-up may be early or late. */
const jitter = 0.1;

export class DnsDiscovery implements Discovery {
  readonly #parts: DnsDiscoveryParts;
  readonly #options: DnsDiscoveryOptions;
  readonly #seed: DnsSeed;
  readonly #kinds: readonly NameKind[];
  readonly #backoff: Backoff;
  readonly #stopping = new AbortController();
  /** What the last good look-up of each kind gave, as addresses. */
  readonly #known = new Map<NameKind, readonly string[]>();
  #candidates: readonly Candidate[] = [];
  #timer: Timer | undefined;
  #isFailing = false;

  /** Throws `invalid_argument` when an option cannot be. */
  constructor(parts: DnsDiscoveryParts, seed: DnsSeed, options: Partial<DnsDiscoveryOptions> = {}) {
    this.#parts = parts;
    this.#seed = seed;
    this.#kinds = seed.kind === "hosts" ? ["A", "AAAA"] : ["SRV"];
    this.#options = { ...dnsDiscoveryDefault, ...options };
    const { intervalMs, timeoutMs, candidatesMax, backoff } = this.#options;
    for (const [name, value] of Object.entries({ intervalMs, timeoutMs, candidatesMax })) {
      if (value >= 1 && value < Infinity) continue;
      throw new CoveyError(
        Code.invalidArgument,
        `discovery by ${seed.text}: found ${name} ${value}; allowed: a number from 1`,
      );
    }
    this.#backoff = new Backoff(backoff, parts.random);
  }

  get candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  start(sink: CandidateSink): void {
    this.#timer = this.#parts.clock.timer(0, () => this.#look(sink), undefined);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#stopping.abort();
  }

  #look(sink: CandidateSink): void {
    Promise.allSettled(this.#kinds.map((kind) => this.#lookUp(kind))).then((results) => {
      if (this.#stopping.signal.aborted) return;
      // One family of addresses is enough: most names have no other.
      const failures = results.flatMap((one) => one.status === "rejected" ? [one.reason] : []);
      if (failures.length === results.length) return this.#failed(failures[0], sink);
      this.#succeeded(sink);
    });
  }

  async #lookUp(kind: NameKind): Promise<void> {
    const { net, counters } = this.#parts;
    const { timeoutMs, server, candidatesMax } = this.#options;
    const { name } = this.#seed;
    counters.lookups++;
    const question = { name, timeoutMs, signal: this.#stopping.signal, server };
    try {
      const found = kind === "SRV"
        ? this.#ofServices(await net.resolve({ ...question, kind }))
        : this.#ofHosts(await net.resolve({ ...question, kind }));
      this.#known.set(kind, found.slice(0, candidatesMax));
    } catch (error) {
      if (!this.#stopping.signal.aborted) counters.lookupsFailed++;
      throw error;
    }
  }

  /** Sorted, because name servers turn the order round each time and that is no change. */
  #ofHosts(hosts: readonly string[]): string[] {
    const port = this.#seed.kind === "hosts" ? this.#seed.port : 0;
    return hosts.map((host) => formatAddress({ kind: "tcp", host, port })).sort();
  }

  /** The best first: by priority, then the heavier ones. */
  #ofServices(services: NameRecords["SRV"]): string[] {
    return [...services]
      // An empty target says that the service does not exist (RFC 2782).
      .filter(({ target, port }) => target !== "" && target !== "." && port > 0)
      .map(({ priority, weight, port, target }) => {
        const address = formatAddress({ kind: "tcp", host: target.replace(/\.$/, ""), port });
        return { priority, weight, address };
      })
      .sort((a, b) =>
        a.priority - b.priority || b.weight - a.weight || (a.address < b.address ? -1 : 1)
      )
      .map(({ address }) => address);
  }

  #succeeded(sink: CandidateSink): void {
    const { clock, logger, random } = this.#parts;
    if (this.#isFailing) logger.info("a name is found again", { name: this.#seed.text });
    this.#isFailing = false;
    this.#backoff.reset();
    this.#again(jittered(this.#options.intervalMs, jitter, random), clock, sink);
    const addresses = new Set(this.#kinds.flatMap((kind) => this.#known.get(kind) ?? []));
    const source = this.#seed.text;
    const found = [...addresses].slice(0, this.#options.candidatesMax)
      .map((address) => ({ address, source }));
    if (sameCandidates(found, this.#candidates)) return;
    this.#candidates = found;
    sink(found);
  }

  #failed(error: unknown, sink: CandidateSink): void {
    const { clock, logger } = this.#parts;
    if (!this.#isFailing) {
      logger.warning("a name to find members by cannot be looked up; trying on", {
        name: this.#seed.text,
        cause: error,
      });
    }
    this.#isFailing = true;
    this.#again(this.#backoff.nextMs(), clock, sink);
  }

  #again(delayMs: number, clock: Clock, sink: CandidateSink): void {
    this.#timer = clock.timer(delayMs, () => this.#look(sink), undefined);
  }
}
