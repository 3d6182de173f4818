/**
 * Where to look, as an operator writes it: the address of a member, or a name in the DNS.
 *
 * ```text
 * tcp://10.0.0.1:7946            a member
 * dns://covey.example:7946       A and AAAA records, each with this port
 * srv://_covey._tcp.example      SRV records, which have their ports
 * ```
 */
import { formatAddress, parseAddress } from "../../base/address.ts";
import { Code, CoveyError } from "../../base/error.ts";
import { parseIp } from "../../base/ip_address.ts";
import { isHostName } from "../../base/name_lookup.ts";

export type Seed =
  | { readonly kind: "address"; readonly address: string }
  | { readonly kind: "hosts"; readonly text: string; readonly name: string; readonly port: number }
  | { readonly kind: "services"; readonly text: string; readonly name: string };

/** Reads one; throws `invalid_argument` that says what is wrong and what is allowed. */
export function parseSeed(text: string): Seed {
  if (text.startsWith("dns://")) return parseHosts(text);
  if (text.startsWith("srv://")) {
    const name = text.slice("srv://".length);
    if (!isHostName(name)) throw bad(text, `${JSON.stringify(name)} is not a host name`);
    return { kind: "services", text, name };
  }
  return { kind: "address", address: formatAddress(parseAddress(text)) };
}

function parseHosts(text: string): Seed {
  const rest = text.slice("dns://".length);
  const colon = rest.lastIndexOf(":");
  const name = colon < 0 ? rest : rest.slice(0, colon);
  const digits = colon < 0 ? "" : rest.slice(colon + 1);
  const bare = name.startsWith("[") && name.endsWith("]") ? name.slice(1, -1) : name;
  if (parseIp(bare) !== undefined || parseIp(rest) !== undefined) {
    throw bad(text, "an address is not looked up, write tcp:// before it");
  }
  if (!isHostName(name)) throw bad(text, `${JSON.stringify(name)} is not a host name`);
  const port = Number(digits);
  if (!/^\d{1,5}$/.test(digits) || port < 1 || port > 65_535) {
    throw bad(text, "the port is missing or not one from 1 to 65535");
  }
  return { kind: "hosts", text, name, port };
}

function bad(text: string, why: string): CoveyError {
  return new CoveyError(
    Code.invalidArgument,
    `seed ${JSON.stringify(text)}: ${why}; allowed: tcp://host:port, dns://name:port, ` +
      "srv://_service._tcp.name, and what else is an address",
  );
}
