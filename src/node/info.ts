/** covey.node.v1.Node: what the process says about itself and about what it serves. */
import { type DescFile, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { FileDescriptorSetSchema } from "npm:@bufbuild/protobuf@2.17.0/wkt";
import type { Node } from "../gen/covey/node/v1/node_pb.ts";
import type { Runtime } from "../runtime/port.ts";
import type { ServiceRegistry } from "../ttrpc/registry.ts";
import type { Handlers } from "../ttrpc/service.ts";

/** What the info service needs to know. */
export interface NodeFacts {
  readonly name: string;
  readonly nodeId: string;
  readonly version: string;
  readonly startedMs: number;
}

export function infoHandlers(
  runtime: Runtime,
  facts: NodeFacts,
  registry: ServiceRegistry,
): Handlers<typeof Node> {
  return {
    info: () => {
      const memory = runtime.host.memory();
      const uptimeMs = runtime.clock.monotonicMs() - facts.startedMs;
      return {
        name: facts.name,
        nodeId: facts.nodeId,
        version: facts.version,
        runtime: {
          name: runtime.name,
          version: runtime.version,
          architecture: runtime.host.architecture,
        },
        uptimeMillis: BigInt(Math.round(uptimeMs)),
        memory: {
          rssBytes: BigInt(memory.rssBytes),
          heapUsedBytes: BigInt(memory.heapUsedBytes),
          heapTotalBytes: BigInt(memory.heapTotalBytes),
        },
      };
    },
    services: (request) => ({
      services: registry.services().map((service) => ({
        name: service.typeName,
        methods: service.methods.map((method) => ({
          name: method.name,
          input: method.input.typeName,
          output: method.output.typeName,
          clientStreaming: method.methodKind === "client_streaming" ||
            method.methodKind === "bidi_streaming",
          serverStreaming: method.methodKind === "server_streaming" ||
            method.methodKind === "bidi_streaming",
        })),
      })),
      fileDescriptorSet: request.descriptors ? descriptorSet(registry) : new Uint8Array(0),
    }),
  };
}

/** Every file that the served services need, each after the files that it imports. */
function descriptorSet(registry: ServiceRegistry): Uint8Array {
  const files = new Map<string, DescFile>();
  const add = (file: DescFile): void => {
    if (files.has(file.proto.name)) return;
    for (const dependency of file.dependencies) add(dependency);
    files.set(file.proto.name, file);
  };
  for (const service of registry.services()) add(service.file);
  return toBinary(FileDescriptorSetSchema, {
    $typeName: "google.protobuf.FileDescriptorSet",
    file: [...files.values()].map((file) => file.proto),
  });
}
