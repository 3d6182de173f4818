/**
 * Where `covey call` gets the description of a method from: a descriptor set that the user names,
 * else the services that every covey node serves, else the server itself, if it is a covey node.
 */
import {
  createFileRegistry,
  type DescMethod,
  type DescService,
  type FileRegistry,
  fromBinary,
} from "npm:@bufbuild/protobuf@2.17.0";
import { FileDescriptorSetSchema } from "npm:@bufbuild/protobuf@2.17.0/wkt";
import { Code, CoveyError } from "../base/error.ts";
import { nearest } from "../config/nearest.ts";
import { Node } from "../gen/covey/node/v1/node_pb.ts";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { type Disk, DiskError } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { UsageError } from "./exit.ts";

/** Descriptor sets of large projects are a few MiB. */
const setBytesMax = 64 << 20;

/** Services by name, and the registry that `Any` values are read with. */
export interface Descriptors {
  readonly services: ReadonlyMap<string, DescService>;
  readonly registry: FileRegistry | undefined;
  /** For messages: where they come from. */
  readonly source: string;
}

/** Reads a descriptor set as `buf build -o` or `protoc -o` writes it. */
export async function readDescriptorSet(disk: Disk, path: string): Promise<Descriptors> {
  const bytes = await readFlagFile(disk, `--proto ${path}`, path, setBytesMax);
  return fromSet(bytes, path);
}

/** Reads a file that a flag names; the error begins with the flag. */
export async function readFlagFile(
  disk: Disk,
  flag: string,
  path: string,
  bytesMax: number,
): Promise<Uint8Array> {
  try {
    return await disk.readFile(path, bytesMax);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    switch (error.kind) {
      case "not-found":
        throw new UsageError(`${flag}: there is no such file`);
      case "is-a-directory":
        throw new UsageError(`${flag}: this is a folder; name the file in it`);
      case "too-large":
        throw new UsageError(`${flag}: the file is larger than ${bytesMax} bytes`);
      default:
        throw new UsageError(`${flag}: ${error.message}`);
    }
  }
}

/** The services that every covey node serves. */
export function builtInDescriptors(): Descriptors {
  const services = new Map<string, DescService>([Node, Health].map((one) => [one.typeName, one]));
  return { services, registry: undefined, source: "the built-in services" };
}

/** Asks the server; undefined when it is no covey node. */
export async function fetchDescriptors(
  channel: Channel,
  timeoutMs: number,
): Promise<Descriptors | undefined> {
  try {
    const answer = await createClient(Node, channel).services({ descriptors: true }, { timeoutMs });
    return fromSet(answer.fileDescriptorSet, "what the server serves");
  } catch (error) {
    if (error instanceof CoveyError && error.code === Code.unimplemented) return undefined;
    throw error;
  }
}

/** Finds `package.Service/Method`; the error names what is there instead. */
export function findMethod(descriptors: Descriptors, path: string): DescMethod {
  const slash = path.lastIndexOf("/");
  const serviceName = path.slice(0, slash);
  const methodName = path.slice(slash + 1);
  const { services, source } = descriptors;
  const service = services.get(serviceName);
  if (service === undefined) {
    throw new UsageError(
      `there is no service ${JSON.stringify(serviceName)} in ${source}${
        suggest(serviceName, [...services.keys()])
      }; give its descriptors with --proto SET, as buf build -o or protoc -o writes them`,
    );
  }
  const method = service.methods.find((one) => one.name === methodName);
  if (method !== undefined) return method;
  const names = service.methods.map((one) => one.name);
  throw new UsageError(
    `service ${serviceName} has no method ${JSON.stringify(methodName)}${
      suggest(methodName, names)
    }`,
  );
}

function suggest(name: string, candidates: readonly string[]): string {
  const close = nearest(name, candidates);
  if (close !== undefined) return ` (did you mean ${close}?)`;
  return candidates.length === 0 ? "" : ` (only ${candidates.join(", ")})`;
}

function fromSet(bytes: Uint8Array, source: string): Descriptors {
  let registry: FileRegistry;
  try {
    registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  } catch (error) {
    const why = CoveyError.from(error).rawMessage;
    throw new UsageError(
      `${source} is no descriptor set (${why}); write one with buf build -o set.binpb, or with ` +
        "protoc --include_imports -o set.binpb",
    );
  }
  const services = new Map<string, DescService>();
  for (const type of registry) if (type.kind === "service") services.set(type.typeName, type);
  return { services, registry, source };
}
