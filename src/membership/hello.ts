/** How two nodes make sure of each other before anything about views counts. */
import { Code, CoveyError } from "../base/error.ts";
import type { ProtocolOptions } from "./core/options.ts";
import type { Hello, HelloInit } from "./wire.ts";

/** The versions of the protocol between members that this build speaks. */
export const protocolMin = 1;
export const protocolMax = 1;

/** What a node says of itself. */
export interface HelloFacts {
  readonly clusterId: string;
  readonly nodeId: string;
  readonly name: string;
  readonly address: string;
  readonly incarnation: bigint;
}

export function makeHello(facts: HelloFacts): HelloInit {
  return { versionMin: protocolMin, versionMax: protocolMax, ...facts };
}

/** Why a node is not talked to; undefined when it is. */
export function helloProblem(facts: HelloFacts, hello: Hello): CoveyError | undefined {
  const { name, clusterId, nodeId } = hello;
  const problem = versionProblem(hello, `node ${name}`) ??
    clusterProblem(facts.clusterId, clusterId, `node ${name}`);
  if (problem !== undefined) return problem;
  if (nodeId === facts.nodeId) {
    return refuse(
      `node ${name} has this node's own id: its data directory is a copy; give it one of its own`,
    );
  }
  return hello.address === "" ? refuse(`node ${name} says no address`) : undefined;
}

export function versionProblem(
  { versionMin, versionMax }: { readonly versionMin: number; readonly versionMax: number },
  who: string,
): CoveyError | undefined {
  if (versionMin <= protocolMax && versionMax >= protocolMin) return undefined;
  return refuse(
    `${who} speaks versions ${versionMin} to ${versionMax} of the protocol between members, and ` +
      `this node ${protocolMin} to ${protocolMax}: update the older`,
  );
}

export function clusterProblem(own: string, other: string, who: string): CoveyError | undefined {
  if (own === other) return undefined;
  return refuse(
    `${who} belongs to cluster ${other || "(none)"}, not to ${own}: check cluster.join on both`,
  );
}

/** What every member has to have the same, or they would not agree. */
export function settingsProblem(
  own: Settings,
  other: Settings | undefined,
): CoveyError | undefined {
  const found = other ?? { rings: 0, high: 0, low: 0, twoMembers: "" };
  const differs = (["rings", "high", "low", "twoMembers"] as const)
    .filter((key) => own[key] !== found[key])
    .map((key) => `${key} ${found[key]} (here ${own[key]})`);
  if (differs.length === 0) return undefined;
  return refuse(`the settings of membership differ from the cluster's: ${differs.join(", ")}`);
}

export interface Settings {
  readonly rings: number;
  readonly high: number;
  readonly low: number;
  readonly twoMembers: string;
}

export function settingsOf({ rings, high, low, twoMembers }: ProtocolOptions): Settings {
  return { rings, high, low, twoMembers };
}

function refuse(message: string): CoveyError {
  return new CoveyError(Code.failedPrecondition, message, { sent: false });
}
