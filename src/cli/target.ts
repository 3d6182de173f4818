/** Which node a command asks: by flag, by `COVEY_NODE`, or by the socket in the data folder. */
import { type Address, parseAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { LoadedConfig } from "../config/load.ts";
import type { Runtime, TlsOptions } from "../runtime/port.ts";
import { UsageError } from "./exit.ts";
import type { NodeFlags } from "./flags.ts";

/** The socket's name in the data folder. */
const socketFile = "covey.sock";

export interface Target {
  /** To be tried in this order. */
  readonly addresses: readonly Address[];
  readonly tls: TlsOptions | undefined;
  /** What to do when nobody answers there, as it follows a semicolon. */
  readonly help: string;
}

/** Reads an address that somebody typed; a {@link UsageError} says what is wrong with it. */
export function parseTarget(
  runtime: Pick<Runtime, "name" | "version" | "features">,
  text: string,
): Address {
  let address: Address;
  try {
    address = parseAddress(text);
  } catch (error) {
    // The scheme is what people leave out, or take from the browser.
    const place = /^(?:https?:\/\/)?([^/:]+:\d+)\/?$/.exec(text)?.[1];
    const guess = place === undefined ? "" : `; did you mean tcp://${place}?`;
    throw new UsageError(CoveyError.from(error).rawMessage + guess);
  }
  const { vsock, abstractSockets } = runtime.features;
  if ((address.kind === "vsock" && !vsock) || (address.kind === "abstract" && !abstractSockets)) {
    throw new UsageError(
      `address ${JSON.stringify(text)}: ${runtime.name} ${runtime.version} has no ` +
        `${address.kind} sockets here`,
    );
  }
  return address;
}

/** Finds the node; a {@link UsageError} or a ConfigError says what is wrong with what was given. */
export async function findTarget(runtime: Runtime, flags: NodeFlags): Promise<Target> {
  if (flags.node !== undefined && flags.data !== undefined) {
    throw new UsageError("--node and --data both name a node; give one");
  }
  // A flag that names the node in another way is stronger than the variable.
  const byFlag = flags.data !== undefined || flags.config !== undefined;
  const variable = byFlag ? undefined : runtime.host.environment("COVEY_NODE");
  const named = flags.node ?? (variable === "" ? undefined : variable);
  if (named === undefined) return await localTarget(runtime, flags);
  const what = flags.node === undefined ? "COVEY_NODE" : "--node";
  const addresses = named.split(",").map((text) => text.trim()).filter((text) => text !== "")
    .map((text) => parseTarget(runtime, text));
  if (addresses.length === 0) throw new UsageError(`${what} is empty; name an address`);
  const isTcp = addresses.some((address) => address.kind === "tcp");
  const tls = isTcp ? await readTls(runtime, flags) : undefined;
  const other = isTcp && tls === undefined
    ? `; one with TLS is asked with --config FILE, whose [tls] has the certificate`
    : "";
  return { addresses, tls, help: `is a node running there? ${what} names it${other}` };
}

async function localTarget(runtime: Runtime, flags: NodeFlags): Promise<Target> {
  const data = flags.data ?? await configuredData(runtime, flags);
  if (data === "") throw new UsageError("--data is empty; name a folder, or leave it out");
  const folder = data.replace(/\/+$/, "");
  return {
    addresses: [parseTarget(runtime, `unix:${folder}/${socketFile}`)],
    tls: undefined,
    help: "is an agent running with this data directory? Name its folder with --data, or a node " +
      "with --node ADDRESS or COVEY_NODE",
  };
}

const dataDefault = "./covey-data";

/** `node.data`, found as an agent finds it. */
async function configuredData(runtime: Runtime, flags: NodeFlags): Promise<string> {
  const loaded = await loadIfWritten(runtime, flags, "COVEY_NODE__");
  if (loaded === undefined) return dataDefault;
  const { node } = loaded.config;
  if (!node.memory_only) return node.data;
  throw new UsageError(
    "this configuration keeps the node in memory, where it has no data folder and no socket; " +
      `name it with --node ${node.listen[0]}`,
  );
}

/**
 * The configuration, where there is any to load: the file, or variables that begin with `prefix`.
 * The schema takes longer to load than most commands to run.
 */
async function loadIfWritten(
  runtime: Runtime,
  flags: NodeFlags,
  prefix: string,
): Promise<LoadedConfig | undefined> {
  const { host } = runtime;
  const file = flags.config ?? (host.environment("COVEY_CONFIG") || undefined);
  if (file === undefined && host.environmentNames(prefix).length === 0) return undefined;
  const { loadConfig } = await import("../config/load.ts");
  return await loadConfig(runtime, { ...(file === undefined ? {} : { file }), environment: true });
}

/** The material of `[tls]`, when it is on: a node speaks TLS to whoever comes over TCP. */
async function readTls(runtime: Runtime, flags: NodeFlags): Promise<TlsOptions | undefined> {
  const loaded = await loadIfWritten(runtime, flags, "COVEY_TLS__");
  if (loaded?.config.tls.mode !== "on") return undefined;
  const { checkFiles, pemBytesMax } = await import("../config/files.ts");
  await checkFiles(runtime.disk, loaded);
  const { certificate_file, key_file, authorities_file } = loaded.config.tls;
  const read = async (path: string | undefined): Promise<string> => {
    if (path === undefined) throw new CoveyError(Code.internal, "a file of [tls] has no name");
    return new TextDecoder().decode(await runtime.disk.readFile(path, pemBytesMax));
  };
  return {
    certificate: await read(certificate_file),
    key: await read(key_file),
    authorities: await read(authorities_file),
  };
}
