/**
 * Members on the same network, by multicast: every node calls its address out now and then, and soon
 * after somebody has asked. Nothing of it is trusted, see `discovery.ts`.
 *
 * The group is joined with loopback on, so that a node hears itself. One that does not, a few times
 * in a row, has lost its network, or joined the group on an interface that is gone: it joins again.
 */
import { Code, CoveyError } from "../base/error.ts";
import { equalBytes } from "../base/bytes.ts";
import { parseIp } from "../base/ip_address.ts";
import type { Logger } from "../base/log.ts";
import {
  type Clock,
  type Net,
  NetError,
  type Random,
  type Timer,
  type UdpSocket,
} from "../runtime/port.ts";
import { Backoff, type BackoffOptions } from "../ttrpc/backoff.ts";
import {
  type Announcement,
  dialledAddress,
  encodeAnnouncement,
  isAnnounced,
  isCluster,
  parseAnnouncement,
  senderBytes,
} from "./core/announcement.ts";
import { HeardTable } from "./core/heard_table.ts";
import type { DiscoveryCounters } from "./counters.ts";
import type { Candidate, CandidateSink, Discovery } from "./discovery.ts";
import { fraction, jittered } from "./jitter.ts";

export interface LanOptions {
  /** An IPv4 or an IPv6 multicast address. */
  readonly group: string;
  readonly port: number;
  /** Address of the interface to use (`::%eth0` for IPv6); default: the system's choice. */
  readonly interface?: string;
  /** Routers that a datagram may pass, plus one. */
  readonly ttl: number;
  /** Between two announcements, give or take a fifth. */
  readonly intervalMs: number;
  /** How long an address stays that is not heard of again. */
  readonly lifetimeMs: number;
  readonly candidatesMax: number;
  /** Addresses that one host may name. */
  readonly perSenderMax: number;
  /** Between two attempts to join the group. */
  readonly backoff: BackoffOptions;
}

export const lanDefault: LanOptions = {
  group: "239.255.77.46",
  port: 7946,
  ttl: 1,
  intervalMs: 10_000,
  lifetimeMs: 40_000,
  candidatesMax: 512,
  perSenderMax: 64,
  backoff: { firstMs: 1_000, mostMs: 60_000 },
};

export interface LanParts {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly counters: DiscoveryCounters;
  /** The own address as others dial it; a host of `0.0.0.0` or `::` is whatever they see. */
  readonly address: string;
  /** The cluster's id; empty as long as this node is in none, which hears all clusters. */
  readonly cluster: () => string;
}

const jitter = 0.2;
/** A node that has just started asks soon again: datagrams get lost. */
const firstRoundsMs = [1_000, 2_000];
/** Answers are spread over this time and come once in a second at most, however many ask. */
const answerSpreadMs = 300;
const answerEveryMs = 1_000;
/** Own datagrams in a row that do not come back before the group is joined again. */
const unheardMax = 3;

export class LanDiscovery implements Discovery {
  readonly #parts: LanParts;
  readonly #options: LanOptions;
  readonly #backoff: Backoff;
  readonly #table: HeardTable;
  readonly #sender = new Uint8Array(senderBytes);
  readonly #source: string;
  #sink: CandidateSink | undefined;
  #candidates: readonly Candidate[] = [];
  #socket: UdpSocket | undefined;
  #stopped = false;
  #isFailing = false;
  /** Announcements of this socket so far. */
  #rounds = 0;
  #unheard = 0;
  #answeredMs = -Infinity;
  /** The next announcement, or the next attempt to join. */
  #round: Timer | undefined;
  #answer: Timer | undefined;

  /** Throws `invalid_argument` when an option cannot be. */
  constructor(parts: LanParts, options: Partial<LanOptions> = {}) {
    this.#parts = parts;
    this.#options = { ...lanDefault, ...options };
    check(this.#options, parts);
    this.#backoff = new Backoff(this.#options.backoff, parts.random);
    this.#table = new HeardTable(this.#options);
    const { group, port } = this.#options;
    this.#source = `lan ${group.includes(":") ? `[${group}]` : group}:${port}`;
    parts.random.fill(this.#sender);
  }

  get candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  start(sink: CandidateSink): void {
    this.#sink = sink;
    this.#join();
  }

  stop(): void {
    this.#stopped = true;
    this.#sink = undefined;
    this.#close();
  }

  // -------------------------------------------------------------------------------------------
  // The group

  #join(): void {
    const { net } = this.#parts;
    const { group, port, ttl } = this.#options;
    const socket = net.bindUdp({
      host: group.includes(":") ? "::" : "0.0.0.0",
      port,
      multicast: { group, interface: this.#options.interface, ttl, loopback: true },
      handler: {
        message: (from, datagram, host) => {
          if (from === this.#socket) this.#heard(datagram, host);
        },
        error: () => void this.#parts.counters.sendErrors++,
      },
    });
    socket.then((socket) => this.#joined(socket), (error) => this.#lost(error));
  }

  #joined(socket: UdpSocket): void {
    if (this.#stopped) return socket.close();
    this.#parts.counters.joined++;
    this.#socket = socket;
    this.#rounds = 0;
    this.#unheard = 0;
    this.#announce();
  }

  /** The group cannot be joined, or is not heard any more: an interface may come later. */
  #lost(cause: unknown): void {
    if (this.#stopped) return;
    const { clock, logger, counters } = this.#parts;
    counters.joinsFailed++;
    this.#close();
    if (!this.#isFailing) {
      const { group, port } = this.#options;
      const where = { group, port, interface: this.#options.interface ?? "any" };
      logger.warning("the network has no multicast for discovery; trying on", { ...where, cause });
    }
    this.#isFailing = true;
    this.#expire();
    this.#round = clock.timer(this.#backoff.nextMs(), () => this.#join(), undefined);
  }

  #close(): void {
    this.#round?.cancel();
    this.#answer?.cancel();
    this.#answer = undefined;
    this.#socket?.close();
    this.#socket = undefined;
  }

  // -------------------------------------------------------------------------------------------
  // Speaking

  #announce(): void {
    const { clock, random } = this.#parts;
    this.#expire();
    if (this.#unheard >= unheardMax) {
      const why = `${unheardMax} announcements in a row did not come back`;
      return this.#lost(new NetError("other", why));
    }
    // Whoever knows nobody asks; a question announces the asker as well.
    const isNew = this.#rounds <= firstRoundsMs.length;
    this.#send(isNew || this.#table.size === 0 ? "question" : "announcement");
    const intervalMs = Math.min(
      firstRoundsMs[this.#rounds] ?? Infinity,
      this.#options.intervalMs,
    );
    this.#rounds++;
    const delayMs = jittered(intervalMs, jitter, random);
    this.#round = clock.timer(delayMs, () => this.#announce(), undefined);
  }

  #send(kind: Announcement["kind"]): void {
    const { counters, cluster, address } = this.#parts;
    const { group, port } = this.#options;
    counters.sent++;
    this.#unheard++;
    const announcement = { kind, sender: this.#sender, cluster: cluster(), address };
    this.#socket?.send(encodeAnnouncement(announcement), group, port);
  }

  #answerSoon(): void {
    if (this.#answer !== undefined) return;
    const { clock, random } = this.#parts;
    const restMs = Math.max(0, this.#answeredMs + answerEveryMs - clock.monotonicMs());
    const delayMs = restMs + answerSpreadMs * fraction(random);
    this.#answer = clock.timer(delayMs, () => {
      this.#answer = undefined;
      this.#answeredMs = clock.monotonicMs();
      this.#send("announcement");
    }, undefined);
  }

  // -------------------------------------------------------------------------------------------
  // Hearing

  #heard(datagram: Uint8Array, host: string): void {
    const { counters, clock, cluster, address } = this.#parts;
    const heard = parseAnnouncement(datagram);
    if (heard.kind === "garbage") return void counters.garbage++;
    if (heard.kind === "version") return void counters.otherVersion++;
    if (equalBytes(heard.sender, this.#sender)) return this.#heardSelf();
    const own = cluster();
    if (own !== "" && heard.cluster !== "" && heard.cluster !== own) {
      return void counters.otherCluster++;
    }
    counters.heard++;
    if (heard.kind === "question") this.#answerSoon();
    const dialled = dialledAddress(heard.address, host);
    if (dialled === address) return;
    const result = this.#table.heard(dialled, host, clock.monotonicMs());
    if (result === "full") counters.full++;
    else if (result === "new") this.#changed();
  }

  #heardSelf(): void {
    this.#parts.counters.own++;
    this.#unheard = 0;
    this.#backoff.reset();
    if (this.#isFailing) {
      const { group, port } = this.#options;
      this.#parts.logger.info("the network has multicast for discovery", { group, port });
    }
    this.#isFailing = false;
  }

  #expire(): void {
    if (this.#table.expire(this.#parts.clock.monotonicMs())) this.#changed();
  }

  #changed(): void {
    const source = this.#source;
    this.#candidates = this.#table.addresses().map((address) => ({ address, source }));
    this.#sink?.(this.#candidates);
  }
}

function check(options: LanOptions, parts: LanParts): void {
  const bad = (what: string, found: unknown, allowed: string): CoveyError =>
    new CoveyError(
      Code.invalidArgument,
      `discovery by multicast: found ${what} ${JSON.stringify(found)}; allowed: ${allowed}`,
    );
  const { group, port, ttl, intervalMs, lifetimeMs, candidatesMax, perSenderMax } = options;
  const ip = parseIp(group.split("%")[0]);
  const isGroup = ip !== undefined &&
    (ip.length === 4 ? ip[0] >= 224 && ip[0] <= 239 : ip[0] === 255);
  if (!isGroup) {
    throw bad("group", group, "224.0.0.0 to 239.255.255.255, or an address of ff00::/8");
  }
  if (!(Number.isInteger(port) && port >= 1 && port <= 65_535)) {
    throw bad("port", port, "1 to 65535");
  }
  if (!(Number.isInteger(ttl) && ttl >= 1 && ttl <= 255)) throw bad("ttl", ttl, "1 to 255");
  for (const [name, value] of Object.entries({ intervalMs, candidatesMax, perSenderMax })) {
    if (!(value >= 1 && value < Infinity)) throw bad(name, value, "a number from 1");
  }
  if (!(lifetimeMs >= 2 * intervalMs && lifetimeMs < Infinity)) {
    throw bad("lifetimeMs", lifetimeMs, "twice the interval at least, so that one may get lost");
  }
  if (!isAnnounced(parts.address)) {
    throw bad("the node's address", parts.address, "tcp://host:port of at most 255 characters");
  }
  if (!isCluster(parts.cluster())) {
    throw bad("cluster", parts.cluster(), "at most 64 letters, digits, -, _ and .");
  }
}
