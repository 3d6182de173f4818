/**
 * `covey call ADDRESS SERVICE/METHOD JSON`: one call to any ttrpc server. One JSON object in and
 * out for unary calls, one a line for streams.
 */
import { type DescMethod, type Message, toJson } from "npm:@bufbuild/protobuf@2.17.0";
import type { Address } from "../base/address.ts";
import { decodeText } from "../base/bytes.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Runtime, TlsOptions } from "../runtime/port.ts";
import { Channel } from "../ttrpc/channel.ts";
import { callMethod } from "../ttrpc/client.ts";
import type { CallOptions } from "../ttrpc/service.ts";
import {
  builtInDescriptors,
  type Descriptors,
  fetchDescriptors,
  findMethod,
  readDescriptorSet,
  readFlagFile,
} from "./call_descriptors.ts";
import { explainFailure } from "./call_failure.ts";
import { CallInput } from "./call_input.ts";
import type { CliContext } from "./context.ts";
import { UsageError } from "./exit.ts";
import { parseTarget } from "./target.ts";

/** The flags of `covey call`. */
export interface CallFlags {
  readonly list?: boolean;
  readonly metadata?: readonly string[];
  /** Milliseconds. */
  readonly timeout?: number;
  readonly proto?: string;
  readonly "certificate-file"?: string;
  readonly "key-file"?: string;
  readonly "authorities-file"?: string;
  readonly json?: boolean;
}

/** Time for asking the server what it serves, when the call itself names no time. */
const describeMs = 5000;
const pemBytesMax = 1 << 20;

export async function call(
  this: CliContext,
  flags: CallFlags,
  address: string,
  path?: string,
  input?: string,
): Promise<void> {
  const { runtime } = this;
  const timeoutMs = flags.timeout;
  const metadata = parseMetadata(flags.metadata ?? []);
  const parsed = parseTarget(runtime, address);
  const tls = await readTls(runtime, flags, parsed);
  using channel = new Channel({
    net: runtime.net,
    clock: runtime.clock,
    random: runtime.random,
    address: parsed,
    tls,
    dialTimeoutMs: timeoutMs ?? describeMs,
  });
  try {
    if (flags.list === true) {
      if (path !== undefined) throw new UsageError("--list takes an address and nothing else");
      await list(this, flags, channel, timeoutMs ?? describeMs);
    } else {
      await callOnce(this, flags, channel, path, input, { metadata, timeoutMs });
    }
  } catch (error) {
    throw explainFailure(error, channel, tls !== undefined);
  }
}

async function callOnce(
  context: CliContext,
  flags: CallFlags,
  channel: Channel,
  path: string | undefined,
  argument: string | undefined,
  options: CallOptions,
): Promise<void> {
  const { runtime } = context;
  if (path === undefined || !/^[^/]+\/[^/]+$/.test(path)) {
    const found = path === undefined ? "" : `, not as ${JSON.stringify(path)}`;
    throw new UsageError(
      `name the method as package.Service/Method${found}; --list shows what the server serves`,
    );
  }
  const { clock } = runtime;
  const startedMs = clock.monotonicMs();
  const { method, registry } = await describe(runtime, flags, channel, path, options.timeoutMs);
  const describedMs = clock.monotonicMs() - startedMs;
  const write = async (message: Message): Promise<void> => {
    const json = toJson(method.output, message, { registry, alwaysEmitImplicit: true });
    if (flags.json !== true && runtime.host.isTerminal("stdout") && isSingle(method)) {
      await context.print(JSON.stringify(json, undefined, 2));
    } else await context.printJson(json);
  };
  const input = new CallInput(context, method, registry, argument);
  const clientStreams = method.methodKind === "client_streaming" ||
    method.methodKind === "bidi_streaming";
  try {
    const request = clientStreams ? input.messages() : await input.only();
    const result = callMethod(channel, method, request, shortened(options, describedMs));
    if (isSingle(method)) await write(await (result as Promise<Message>));
    else for await (const message of result as AsyncIterable<Message>) await write(message);
  } catch (error) {
    throw input.error ?? error;
  }
}

/** What is left of the command's time; at least a millisecond. */
function shortened(options: CallOptions, byMs: number): CallOptions {
  const { timeoutMs } = options;
  return timeoutMs === undefined
    ? options
    : { ...options, timeoutMs: Math.max(1, timeoutMs - byMs) };
}

function isSingle(method: DescMethod): boolean {
  return method.methodKind === "unary" || method.methodKind === "client_streaming";
}

async function describe(
  runtime: Runtime,
  flags: CallFlags,
  channel: Channel,
  path: string,
  timeoutMs: number | undefined,
): Promise<{ method: DescMethod; registry: Descriptors["registry"] }> {
  let descriptors = flags.proto === undefined
    ? builtInDescriptors()
    : await readDescriptorSet(runtime.disk, flags.proto);
  const service = path.slice(0, path.lastIndexOf("/"));
  if (flags.proto === undefined && !descriptors.services.has(service)) {
    descriptors = await fetchDescriptors(channel, timeoutMs ?? describeMs) ??
      { ...descriptors, source: `${descriptors.source}, and the server cannot be asked` };
  }
  return { method: findMethod(descriptors, path), registry: descriptors.registry };
}

async function list(
  context: CliContext,
  flags: CallFlags,
  channel: Channel,
  timeoutMs: number,
): Promise<void> {
  const descriptors = flags.proto === undefined
    ? await fetchDescriptors(channel, timeoutMs)
    : await readDescriptorSet(context.runtime.disk, flags.proto);
  if (descriptors === undefined) {
    throw new CoveyError(
      Code.unimplemented,
      "the server is no covey node and cannot say what it serves; name a descriptor set with " +
        "--proto SET to list that",
    );
  }
  const services = [...descriptors.services.values()];
  services.sort((a, b) => a.typeName < b.typeName ? -1 : 1);
  for (const service of services) {
    for (const method of service.methods) {
      const name = `${service.typeName}/${method.name}`;
      if (flags.json === true) {
        await context.printJson({
          method: name,
          kind: method.methodKind,
          input: method.input.typeName,
          output: method.output.typeName,
        });
      } else {
        const takes = method.methodKind === "client_streaming" ||
            method.methodKind === "bidi_streaming"
          ? "stream "
          : "";
        const gives = method.methodKind === "server_streaming" ||
            method.methodKind === "bidi_streaming"
          ? "stream "
          : "";
        await context.print(
          `${name} (${takes}${method.input.typeName}) -> (${gives}${method.output.typeName})`,
        );
      }
    }
  }
}

function parseMetadata(pairs: readonly string[]): Record<string, string[]> {
  const metadata: Record<string, string[]> = Object.create(null);
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    if (equals < 1) {
      throw new UsageError(`--metadata ${JSON.stringify(pair)}: give it as key=value`);
    }
    (metadata[pair.slice(0, equals).toLowerCase()] ??= []).push(pair.slice(equals + 1));
  }
  return metadata;
}

async function readTls(
  runtime: Runtime,
  flags: CallFlags,
  address: Address,
): Promise<TlsOptions | undefined> {
  const names = ["certificate-file", "key-file", "authorities-file"] as const;
  const given = names.filter((name) => flags[name] !== undefined);
  if (given.length === 0) return undefined;
  if (given.length < names.length) {
    throw new UsageError(`TLS needs all of --${names.join(", --")}`);
  }
  if (address.kind !== "tcp") {
    throw new UsageError(`--${given[0]} is for tcp:// addresses: a unix socket has no TLS`);
  }
  const [certificate, key, authorities] = await Promise.all(names.map(async (name) => {
    const flag = `--${name} ${flags[name]}`;
    const text = decodeText(await readFlagFile(runtime.disk, flag, flags[name]!, pemBytesMax));
    if (!text?.includes("-----BEGIN ")) throw new UsageError(`${flag}: this is no PEM file`);
    return text;
  }));
  return { certificate, key, authorities };
}
