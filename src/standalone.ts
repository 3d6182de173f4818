/**
 * The RPC module without a node: a server, or a channel to one, on this process's runtime. For
 * programs that want ttrpc and nothing else.
 */
import { parseAddress } from "./base/address.ts";
import { selectRuntime } from "./start.ts";
import type { Runtime } from "./runtime/port.ts";
import { Channel, type ChannelOptions } from "./ttrpc/channel.ts";
import { ServiceRegistry } from "./ttrpc/registry.ts";
import { RpcServer, type RpcServerOptions } from "./ttrpc/server.ts";
import type { ServerInterceptor } from "./ttrpc/service.ts";

/** What {@link createRpcServer} can be told. */
export interface StandaloneServerOptions
  extends Omit<RpcServerOptions, "net" | "clock" | "registry"> {
  /** Around every call of every kind; the first is the outermost. */
  readonly interceptors?: readonly ServerInterceptor[];
  /** Default: the runtime of this process. */
  readonly runtime?: Runtime;
}

/**
 * A ttrpc server that serves nothing and listens nowhere yet: add services to its `registry`, then
 * call `listen`.
 */
export async function createRpcServer(options: StandaloneServerOptions = {}): Promise<RpcServer> {
  const { interceptors, runtime: given, ...rest } = options;
  const runtime = given ?? await selectRuntime();
  return new RpcServer({
    ...rest,
    net: runtime.net,
    clock: runtime.clock,
    registry: new ServiceRegistry(interceptors),
  });
}

/** What {@link openChannel} can be told. */
export interface StandaloneChannelOptions
  extends Omit<ChannelOptions, "net" | "clock" | "random" | "address"> {
  /** Default: the runtime of this process. */
  readonly runtime?: Runtime;
}

/**
 * A managed connection to any ttrpc server: `tcp://host:port`, `unix:/path`, `unix://@abstract`.
 * It dials when the first call needs it.
 */
export async function openChannel(
  address: string,
  options: StandaloneChannelOptions = {},
): Promise<Channel> {
  const { runtime: given, ...rest } = options;
  const runtime = given ?? await selectRuntime();
  return new Channel({
    ...rest,
    net: runtime.net,
    clock: runtime.clock,
    random: runtime.random,
    address: parseAddress(address),
  });
}
