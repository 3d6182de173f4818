/** The transports that all stream cases run on: TCP, unix sockets, and TLS over TCP. */
import type { Address } from "../../src/base/address.ts";
import type { TlsOptions } from "../../src/runtime/port.ts";
import type { Ability, World } from "./harness.ts";
import { anyTcp, connectPair, type Hooks, type Pair } from "./probe.ts";

/** What carries the bytes. */
export interface Transport {
  readonly name: string;
  readonly needs: Ability[];
  address(world: World): Address;
  tls?(world: World): Promise<TlsOptions>;
}

const goodTls = async (world: World): Promise<TlsOptions> => {
  const { authorities, good } = await world.certificates!();
  return { certificate: good.certificate, key: good.key, authorities, serverName: "localhost" };
};

/** All that the stream cases run on. */
export const transports: readonly Transport[] = [
  { name: "tcp", needs: [], address: () => anyTcp },
  {
    name: "unix",
    needs: ["unix"],
    address: (world) => ({ kind: "unix", path: `${world.directory}/socket` }),
  },
  { name: "tls", needs: ["tls"], address: () => anyTcp, tls: goodTls },
];

/** Connects a pair over it. */
export async function pairOn(
  transport: Transport,
  world: World,
  hooks: { serverHooks?: Hooks; clientHooks?: Hooks } = {},
): Promise<Pair> {
  const tls = await transport.tls?.(world);
  const options = { ...hooks, serverTls: tls, clientTls: tls };
  return connectPair(world.runtime, transport.address(world), options);
}
