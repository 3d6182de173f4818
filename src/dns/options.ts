/** What can be set about the DNS server, and what applies when nothing is said. */
import { Code, CoveyError } from "../base/error.ts";
import { isHostName } from "../base/name_lookup.ts";

export interface DnsOptions {
  readonly host: string;
  /** For UDP and TCP alike; 0 picks one that is free for both. */
  readonly port: number;
  /** The zone: `covey`. */
  readonly domain: string;
  readonly ttlSeconds: number;
  /** Members that one answer names, chosen anew each time. */
  readonly udpMembersMax: number;
  readonly tcpMembersMax: number;
  /** Over UDP, to one network beyond this machine, beyond what it sent itself. */
  readonly bytesPerSecond: number;
  readonly totalBytesPerSecond: number;
  readonly tcpConnectionsMax: number;
  /** How long a TCP client may take for its next question, and to read its answers. */
  readonly tcpIdleMs: number;
  readonly tcpQuestionsMax: number;
}

export const dnsOptionsDefault: DnsOptions = {
  host: "127.0.0.1",
  port: 8600,
  domain: "covey",
  ttlSeconds: 0,
  udpMembersMax: 16,
  tcpMembersMax: 256,
  bytesPerSecond: 64 * 1024,
  totalBytesPerSecond: 1024 * 1024,
  tcpConnectionsMax: 64,
  tcpIdleMs: 10_000,
  tcpQuestionsMax: 1000,
};

/** Networks whose budget is kept. */
export const networksMax = 4096;
/** Bytes of questions that wait to be answered on one TCP connection. */
export const tcpInputBytesMax = 128 * 1024;
/** A question has a name of 255 bytes at most; with all that may be beside it, this is ample. */
export const tcpQuestionBytesMax = 4096;

/** Fills in what is not given; throws `invalid_argument`, naming what cannot be. */
export function completeOptions(given: Partial<DnsOptions>): DnsOptions {
  const options = { ...dnsOptionsDefault, ...given };
  const { domain, ttlSeconds } = options;
  const bad = (name: keyof DnsOptions, allowed: string): CoveyError =>
    new CoveyError(
      Code.invalidArgument,
      `dns: found ${name} ${JSON.stringify(options[name])}; allowed: ${allowed}`,
    );
  // Names of members and services still have to fit in front of it.
  if (!isHostName(domain) || domain.endsWith(".") || domain.length > 100) {
    throw bad("domain", "a name of at most 100 letters, digits, - and _, labels with dots between");
  }
  if (!(Number.isInteger(ttlSeconds) && ttlSeconds >= 0 && ttlSeconds <= 86_400)) {
    throw bad("ttlSeconds", "whole seconds from 0 to 86400");
  }
  const counts = [
    "udpMembersMax",
    "tcpMembersMax",
    "bytesPerSecond",
    "totalBytesPerSecond",
    "tcpConnectionsMax",
    "tcpIdleMs",
    "tcpQuestionsMax",
  ] as const;
  for (const name of counts) {
    if (!(options[name] >= 1 && options[name] < Infinity)) throw bad(name, "a number from 1");
  }
  return { ...options, domain: domain.toLowerCase() };
}
