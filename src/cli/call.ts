/**
 * `covey call ADDRESS SERVICE/METHOD JSON`: one call to any ttrpc server. One JSON object in and
 * out for unary calls, one a line for streams.
 */
import {
  type DescMethod,
  fromJson,
  type JsonValue,
  type Message,
  toJson,
} from "npm:@bufbuild/protobuf@2.17.0";
import { parseAddress } from "../base/address.ts";
import { decodeText } from "../base/bytes.ts";
import { Code, CoveyError } from "../base/error.ts";
import { parseDuration } from "../config/units.ts";
import type { Disk, Runtime, TlsOptions } from "../runtime/port.ts";
import { Channel } from "../ttrpc/channel.ts";
import { callMethod } from "../ttrpc/client.ts";
import {
  builtInDescriptors,
  type Descriptors,
  fetchDescriptors,
  findMethod,
  readDescriptorSet,
} from "./call_descriptors.ts";
import type { CliContext } from "./context.ts";
import { UsageError } from "./exit.ts";

/** The flags of `covey call`. */
export interface CallFlags {
  readonly list?: boolean;
  readonly metadata?: readonly string[];
  readonly timeout?: string;
  readonly proto?: string;
  readonly "certificate-file"?: string;
  readonly "key-file"?: string;
  readonly "authorities-file"?: string;
  readonly json?: boolean;
}

/** Time for asking the server what it serves, when the call itself names no time. */
const describeMs = 5000;
const pemBytesMax = 1 << 20;
/** A line of input is a message: no longer than any message may be. */
const lineBytesMax = 64 << 20;

export async function call(
  this: CliContext,
  flags: CallFlags,
  address: string,
  path?: string,
  input?: string,
): Promise<void> {
  const { runtime } = this;
  const timeoutMs = flags.timeout === undefined ? undefined : parseTimeout(flags.timeout);
  const metadata = parseMetadata(flags.metadata ?? []);
  let parsed;
  try {
    parsed = parseAddress(address);
  } catch (error) {
    throw new UsageError(CoveyError.from(error).rawMessage);
  }
  using channel = new Channel({
    net: runtime.net,
    clock: runtime.clock,
    random: runtime.random,
    address: parsed,
    tls: await readTls(runtime.disk, flags),
    dialTimeoutMs: timeoutMs ?? describeMs,
  });
  if (flags.list === true) {
    if (path !== undefined) throw new UsageError("--list takes an address and nothing else");
    await list(this, flags, channel, timeoutMs ?? describeMs);
    return;
  }
  if (path === undefined || !/^[^/]+\/[^/]+$/.test(path)) {
    throw new UsageError(
      "name the method as package.Service/Method; --list shows what the server serves",
    );
  }
  const { method, registry } = await describe(runtime, flags, channel, path, timeoutMs);
  const options = { metadata, timeoutMs };
  const write = async (message: Message): Promise<void> => {
    const json = toJson(method.output, message, { registry, alwaysEmitImplicit: true });
    if (flags.json !== true && runtime.host.isTerminal("stdout") && isSingle(method)) {
      await this.print(JSON.stringify(json, undefined, 2));
    } else await this.printJson(json);
  };
  const messages = readMessages(runtime, method, registry, input);
  const clientStreams = method.methodKind === "client_streaming" ||
    method.methodKind === "bidi_streaming";
  const request = clientStreams ? messages : await onlyMessage(messages, method, registry);
  const result = callMethod(channel, method, request, options);
  if (isSingle(method)) await write(await (result as Promise<Message>));
  else for await (const message of result as AsyncIterable<Message>) await write(message);
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
    descriptors = await fetchDescriptors(channel, timeoutMs ?? describeMs) ?? descriptors;
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

/** The messages of the argument, or of standard input when it is `-` or absent on a stream. */
async function* readMessages(
  runtime: Runtime,
  method: DescMethod,
  registry: Descriptors["registry"],
  input: string | undefined,
): AsyncGenerator<Message> {
  const streams = method.methodKind === "client_streaming" ||
    method.methodKind === "bidi_streaming";
  if (input !== undefined && input !== "-") {
    if (!streams) {
      yield parseMessage(method, registry, input, "the argument");
      return;
    }
    let line = 0;
    for (const text of input.split("\n")) {
      line++;
      if (text.trim() !== "") yield parseMessage(method, registry, text, `line ${line}`);
    }
    return;
  }
  if (input === undefined && !streams) return;
  let line = 0;
  for await (const text of inputLines(runtime, streams)) {
    line++;
    if (text.trim() === "") continue;
    const where = streams ? `standard input, line ${line}` : "standard input";
    yield parseMessage(method, registry, text, where);
  }
}

async function onlyMessage(
  messages: AsyncGenerator<Message>,
  method: DescMethod,
  registry: Descriptors["registry"],
): Promise<Message> {
  for await (const message of messages) return message;
  return parseMessage(method, registry, "{}", "the empty request");
}

/** Lines for streams as they come; for a unary call the whole input at once. */
async function* inputLines(runtime: Runtime, byLine: boolean): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let pending = "";
  for await (const chunk of runtime.host.stdin()) {
    pending += decoder.decode(chunk, { stream: true });
    if (pending.length > lineBytesMax) {
      throw new UsageError("a message on standard input is longer than any message may be");
    }
    for (let end = pending.indexOf("\n"); byLine && end >= 0; end = pending.indexOf("\n")) {
      yield pending.slice(0, end);
      pending = pending.slice(end + 1);
    }
  }
  pending += decoder.decode();
  if (pending.trim() !== "") yield pending;
}

function parseMessage(
  method: DescMethod,
  registry: Descriptors["registry"],
  text: string,
  where: string,
): Message {
  let json: JsonValue;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${where} is not JSON: ${CoveyError.from(error).rawMessage}`);
  }
  try {
    return fromJson(method.input, json, { registry });
  } catch (error) {
    throw new UsageError(
      `${where} is no ${method.input.typeName}: ${CoveyError.from(error).rawMessage}`,
    );
  }
}

function parseTimeout(text: string): number {
  const parsed = parseDuration(text);
  if (!parsed.ok || parsed.value <= 0) {
    throw new UsageError(`--timeout ${JSON.stringify(text)}: give a duration such as 500ms or 5s`);
  }
  return parsed.value;
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

async function readTls(disk: Disk, flags: CallFlags): Promise<TlsOptions | undefined> {
  const names = ["certificate-file", "key-file", "authorities-file"] as const;
  const given = names.filter((name) => flags[name] !== undefined);
  if (given.length === 0) return undefined;
  if (given.length < names.length) {
    throw new UsageError(`TLS needs all of --${names.join(", --")}`);
  }
  const [certificate, key, authorities] = await Promise.all(names.map(async (name) => {
    const text = decodeText(await disk.readFile(flags[name]!, pemBytesMax));
    if (text === undefined) throw new UsageError(`--${name} ${flags[name]}: not a text file`);
    return text;
  }));
  return { certificate, key, authorities };
}
