/**
 * Names: addresses by `node:dns`, which asks the system as `Deno.connect` does and takes the same
 * permission, that for the name; services, and what a caller wants from a server of its own, by
 * `Deno.resolveDns`, which takes the permission for each name server that it asks.
 *
 * `Deno.resolveDns` says `NotFound` also when the server failed or refused (tried on 2.9.5).
 */
import dns from "node:dns";
import type { NameKind, NameRecords, ServiceRecord } from "../../base/name_lookup.ts";
import { codeOf } from "../error.ts";
import { type Ask, lookupName, Lookups, type Pending } from "../lookups.ts";
import { type Clock, type Net, NetError, type ResolveOptions } from "../port.ts";
import { isMissingPermission, netDenied, netError } from "./error.ts";
import { hostFlag } from "./permission.ts";

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
  const { name, kind, server } = options;
  const controller = new AbortController();
  const how = {
    signal: controller.signal,
    ...(server === undefined ? {} : { nameServer: { ipAddr: server.host, port: server.port } }),
  };
  const answer: Promise<readonly string[] | readonly ServiceRecord[]> = kind === "SRV"
    ? Deno.resolveDns(name, "SRV", how).then((found) =>
      found.map((record) => ({ ...record, target: record.target.replace(/\.$/, "") }))
    )
    : Deno.resolveDns(name, kind as "A" | "AAAA", how);
  return { answer: answer as Promise<NameRecords[K]>, cancel: () => controller.abort() };
}

function toError(error: unknown, options: ResolveOptions<NameKind>): NetError {
  const doing = lookupName(options);
  const { name, kind, server } = options;
  if (isMissingPermission(error)) {
    // Without a server of the caller's choice, only Deno's text names the ones it wanted to ask.
    const found = /net access to "([^"]+)"/.exec((error as Error).message)?.[1];
    const flag = server !== undefined
      ? hostFlag(server.host, server.port)
      : found === undefined
      ? "--allow-net"
      : `--allow-net=${found}`;
    return netDenied(doing, flag, error);
  }
  if (kind !== "SRV" && codeOf(error) === "EPERM") {
    return netDenied(doing, hostFlag(name, 0), error);
  }
  if (error instanceof Deno.errors.NotFound) {
    return new NetError("not-found", `${doing}: no such records`, error);
  }
  if (error instanceof Deno.errors.TimedOut) {
    return new NetError("timeout", `${doing}: no answer from the name server`, error);
  }
  return netError(error, doing);
}
