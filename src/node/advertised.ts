/** Where other nodes reach this one. */
import { type Address, formatAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Config } from "../config/types.ts";

/** `listening`: of the mesh listener, as bound. Throws where nobody could dial what is bound. */
export function advertised(config: Config, listening: readonly Address[]): string {
  if (config.node.advertise !== undefined) return config.node.advertise;
  const [first] = listening;
  const everywhere = first.kind === "tcp" && (first.host === "0.0.0.0" || first.host === "::");
  if (everywhere && (config.cluster.join.length > 0 || config.cluster.expect > 1)) {
    throw new CoveyError(
      Code.invalidArgument,
      `node.advertise: not set, and nobody can dial ${formatAddress(first)}, the first of ` +
        "node.listen; name the address at which the other nodes reach this one",
    );
  }
  return formatAddress(first);
}
