/**
 * A DNS server for tools that know nothing else: members and services of the cluster as names below
 * one zone, over UDP and TCP. It answers from the view that it is handed, knows no other zone and
 * asks nobody.
 */
import { Code, CoveyError } from "../base/error.ts";
import { parseIp } from "../base/ip_address.ts";
import type { Logger } from "../base/log.ts";
import { Prng } from "../base/prng.ts";
import {
  type Clock,
  type Listener,
  type Net,
  NetError,
  type Random,
  type UdpSocket,
} from "../runtime/port.ts";
import { AnswerBudget } from "./core/budget.ts";
import type { DnsView } from "./core/directory.ts";
import { Responder } from "./core/responder.ts";
import { DnsCounters } from "./counters.ts";
import { completeOptions, type DnsOptions, networksMax } from "./options.ts";
import { TcpClient, tcpHandler, type TcpParts } from "./tcp.ts";

export interface DnsParts {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The view that answers are from, the same object while it is the same; undefined: none yet. */
  readonly view: () => DnsView | undefined;
}

/** Ports that are tried where UDP has one that TCP has not. */
const portTriesMax = 16;

export class DnsServer {
  readonly counters = new DnsCounters();
  readonly options: DnsOptions;
  readonly #parts: DnsParts;
  readonly #responder: Responder;
  readonly #budget: AnswerBudget;
  readonly #clients = new Set<TcpClient>();
  #udp: UdpSocket | undefined;
  #tcp: Listener | undefined;
  #stopped = false;

  /** Throws `invalid_argument` when an option cannot be. */
  constructor(parts: DnsParts, options: Partial<DnsOptions> = {}) {
    this.#parts = parts;
    this.options = completeOptions(options);
    const seed = new Uint8Array(4);
    parts.random.fill(seed);
    const random = new Prng(new DataView(seed.buffer).getUint32(0));
    this.#responder = new Responder(this.options, random);
    this.#budget = new AnswerBudget({ ...this.options, networksMax });
  }

  /** The port of both, once started. */
  get port(): number {
    return this.#udp?.port ?? this.options.port;
  }

  /** Names of members and services that are no host names and cannot be asked for. */
  get hidden(): number {
    return this.#responder.hidden;
  }

  /** Connections that were closed at once because there are too many. */
  get connectionsRefused(): number {
    return this.#tcp?.refused ?? 0;
  }

  /** Binds both; rejects with `failed_precondition` or `permission_denied` that names the address. */
  async start(): Promise<void> {
    for (let tries = 1;; tries++) {
      try {
        return await this.#bind();
      } catch (error) {
        const { host, port } = this.options;
        // The free port of one protocol may be taken in the other.
        const inUse = error instanceof NetError && error.kind === "in-use";
        if (inUse && port === 0 && tries < portTriesMax) continue;
        const denied = error instanceof NetError && error.kind === "denied";
        throw new CoveyError(
          denied ? Code.permissionDenied : Code.failedPrecondition,
          `cannot serve DNS on ${host}:${port}: ${CoveyError.from(error).rawMessage}`,
          { cause: error },
        );
      }
    }
  }

  /** Answers nothing any more; questions under way are dropped. */
  stop(): void {
    this.#stopped = true;
    this.#udp?.close();
    this.#tcp?.stop();
    for (const client of this.#clients) client.stop();
    this.#clients.clear();
  }

  async #bind(): Promise<void> {
    const { net, logger } = this.#parts;
    const { host, port, tcpConnectionsMax } = this.options;
    const udp = await net.bindUdp({
      host,
      port,
      handler: {
        message: (socket, datagram, from, fromPort) => {
          this.#question(socket, datagram, from, fromPort);
        },
        error: () => void this.counters.udpErrors++,
      },
    });
    const tcpParts: TcpParts = {
      clock: this.#parts.clock,
      counters: this.counters,
      options: this.options,
      answer: (question) => this.#answerTcp(question),
      opened: (client) => {
        this.counters.tcpConnections++;
        this.#clients.add(client);
      },
      closed: (client) => void this.#clients.delete(client),
    };
    let tcp: Listener;
    try {
      tcp = await net.listen({
        address: { kind: "tcp", host, port: udp.port },
        handler: tcpHandler,
        state: () => new TcpClient(tcpParts),
        connectionsMax: tcpConnectionsMax,
      });
    } catch (error) {
      udp.close();
      throw error;
    }
    this.#udp = udp;
    this.#tcp = tcp;
    if (this.#stopped) return this.stop();
    logger.info("DNS is served", { host, port: udp.port, domain: this.options.domain });
  }

  #question(socket: UdpSocket, message: Uint8Array, from: string, port: number): void {
    if (this.#stopped) return;
    const { counters } = this;
    this.#responder.update(this.#parts.view());
    let response = this.#responder.respond(message, "udp");
    counters.udp[response.outcome]++;
    if (response.bytes === undefined) return;
    if (!this.#affords(response.bytes.length - message.length, from)) {
      counters.overBudget++;
      response = this.#responder.respond(message, "udp", true);
    }
    if (response.truncated) counters.truncated++;
    else if (response.sampled) counters.sampled++;
    if (response.bytes !== undefined) socket.send(response.bytes, from, port);
  }

  /** Whether so many bytes more than were asked with may go there. */
  #affords(bytes: number, host: string): boolean {
    if (bytes <= 0) return true;
    // A link-local address names its interface behind a percent sign.
    const whole = parseIp(host.split("%")[0]);
    if (whole === undefined) return false;
    const ip = unmapped(whole);
    if (isLoopback(ip)) return true;
    return this.#budget.take(ip, bytes, this.#parts.clock.monotonicMs());
  }

  #answerTcp(question: Uint8Array): Uint8Array | undefined {
    this.#responder.update(this.#parts.view());
    const response = this.#responder.respond(question, "tcp");
    this.counters.tcp[response.outcome]++;
    if (response.sampled) this.counters.sampled++;
    return response.bytes;
  }
}

/** A socket for IPv6 shows IPv4 peers as `::ffff:192.0.2.1`. */
function unmapped(ip: Uint8Array): Uint8Array {
  const isMapped = ip.length === 16 && ip[10] === 255 && ip[11] === 255 &&
    ip.subarray(0, 10).every((byte) => byte === 0);
  return isMapped ? ip.subarray(12) : ip;
}

/** Whether it is this machine that asks: from elsewhere such a sender does not arrive. */
function isLoopback(ip: Uint8Array): boolean {
  if (ip.length === 4) return ip[0] === 127;
  return ip[15] === 1 && ip.subarray(0, 15).every((byte) => byte === 0);
}
