/** How two nodes make sure of each other before any message counts. */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { Hello, HelloSchema } from "../gen/covey/raft/v1/transport_pb.ts";

/** The versions of the protocol between nodes that this build speaks. */
export const protocolMin = 1;
export const protocolMax = 1;

/** What a node says of itself. */
export interface HelloFacts {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly name: string;
  /** Where its mesh listener is reached. */
  readonly address: string;
  /** Of this start of the process. */
  readonly instance: bigint;
  /** For how long this node keeps to a leader that it heard; 0 without lease reads. */
  readonly leaseMs: number;
}

export function makeHello(facts: HelloFacts, peerId: string): MessageInitShape<typeof HelloSchema> {
  return {
    versionMin: protocolMin,
    versionMax: protocolMax,
    clusterId: facts.clusterId,
    nodeId: facts.nodeId,
    name: facts.name,
    peerId,
    address: facts.address,
    instance: facts.instance,
    leaseMillis: facts.leaseMs,
  };
}

/** Why a peer is not accepted; undefined when it is. `expected`: who was dialled. */
export function helloProblem(
  facts: HelloFacts,
  hello: Hello,
  expected?: string,
): CoveyError | undefined {
  const refuse = (message: string): CoveyError => new CoveyError(Code.failedPrecondition, message);
  if (hello.versionMin > protocolMax || hello.versionMax < protocolMin) {
    return refuse(
      `node ${hello.name} speaks versions ${hello.versionMin} to ${hello.versionMax} of the ` +
        `protocol between nodes, and this node ${protocolMin} to ${protocolMax}: update the older`,
    );
  }
  if (hello.clusterId !== facts.clusterId) {
    return refuse(
      `node ${hello.name} belongs to cluster ${hello.clusterId || "(none)"}, not to ` +
        `${facts.clusterId}: check cluster.join on both; to take it in here, stop it, give it an ` +
        "empty data directory, and add it",
    );
  }
  if (expected !== undefined && hello.nodeId !== expected) {
    return refuse(
      `node ${hello.nodeId} (${hello.name}) answers where ${expected} was expected: was its data ` +
        "directory lost or exchanged? Remove the old replica and add the new node",
    );
  }
  if (hello.peerId !== "" && hello.peerId !== facts.nodeId) {
    return refuse(
      `this is node ${facts.nodeId} (${facts.name}), not ${hello.peerId}: was a data directory ` +
        "lost or exchanged? Remove the old replica and add the new node",
    );
  }
  if (hello.nodeId === facts.nodeId) {
    return refuse(
      `node ${hello.name} has this node's own id: its data directory is a copy; give it one of ` +
        "its own",
    );
  }
  return undefined;
}
