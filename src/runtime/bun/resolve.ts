/**
 * Names by `node:dns`. Addresses come from the system's own look-up, which knows its hosts file;
 * services, and whatever a caller wants from a server of its own, from c-ares. `Bun.dns` has
 * neither SRV records nor servers of the caller's choice (tried on 1.4.5).
 */
import dns from "node:dns";
import type { NameKind, NameRecords, ServiceRecord } from "../../base/name_lookup.ts";
import { codeOf } from "../error.ts";
import { type Ask, lookupName, Lookups, type Pending } from "../lookups.ts";
import { type Clock, type Net, NetError, type NetErrorKind, type ResolveOptions } from "../port.ts";
import { netError } from "./error.ts";

/** The port's `resolve` for one runtime. */
export function createResolve(clock: Clock): Net["resolve"] {
  const lookups = new Lookups(clock, ask, toError);
  return (options) => lookups.resolve(options);
}

const ask: Ask = <K extends NameKind>(options: ResolveOptions<K>): Pending<NameRecords[K]> => {
  const { kind, server } = options;
  if (server !== undefined || kind === "SRV") return askServer(options);
  // It can be neither cancelled nor limited in time.
  const answer = dns.promises.lookup(options.name, { all: true, family: kind === "A" ? 4 : 6 });
  const addresses: Promise<readonly string[] | readonly ServiceRecord[]> = answer.then((found) =>
    found.map(({ address }) => address)
  );
  return { answer: addresses as Promise<NameRecords[K]>, cancel() {} };
};

function askServer<K extends NameKind>(options: ResolveOptions<K>): Pending<NameRecords[K]> {
  const { name, kind, server, timeoutMs } = options;
  // The time limit is the caller's: without a word from here c-ares would wait for longer.
  const resolver = new dns.promises.Resolver({ timeout: Math.max(1, timeoutMs), tries: 2 });
  if (server !== undefined) {
    const host = server.host.includes(":") ? `[${server.host}]` : server.host;
    resolver.setServers([`${host}:${server.port}`]);
  }
  const answer: Promise<readonly string[] | readonly ServiceRecord[]> = kind === "A"
    ? resolver.resolve4(name)
    : kind === "AAAA"
    ? resolver.resolve6(name)
    : resolver.resolveSrv(name).then((found) =>
      found.map(({ priority, weight, port, name }) => ({ priority, weight, port, target: name }))
    );
  return { answer: answer as Promise<NameRecords[K]>, cancel: () => resolver.cancel() };
}

/** Codes of c-ares, https://c-ares.org/docs/ares_query.html. */
const kinds: Readonly<Record<string, NetErrorKind>> = {
  ENOTFOUND: "not-found",
  ENODATA: "not-found",
  ENONAME: "not-found",
  EREFUSED: "refused",
  ECONNREFUSED: "refused",
  ETIMEOUT: "timeout",
  ECANCELLED: "aborted",
  EBADNAME: "invalid",
};

function toError(error: unknown, options: ResolveOptions<NameKind>): NetError {
  const doing = lookupName(options);
  const kind = kinds[codeOf(error)];
  if (kind !== undefined) return new NetError(kind, `${doing}: ${codeOf(error)}`, error);
  return netError(error, doing);
}
