/** What a command, a sweep and the mutations need to know of the runs of one area. */
import { fileURLToPath } from "node:url";
import type { Simulation } from "../../../src/runtime/sim/simulation.ts";
import type { Mutation } from "../mutations/mutation.ts";

export type SubjectName = "membership" | "raft" | "rpc";

/** What became of a seed that kept every invariant. */
export interface SeedRun {
  readonly simulation: Pick<Simulation, "coverage" | "events" | "nowMs">;
  readonly operations: number;
  readonly faults: number;
  readonly hash: string;
}

export interface Subject {
  /** Of its folder, its script and its lines in reports. */
  readonly name: SubjectName;
  /** States that a set of seeds must reach. */
  readonly marks: readonly string[];
  /** Bugs that its seeds must find. */
  readonly mutations: readonly Mutation[];
  /** Runs a seed; rejects with the first broken invariant. */
  run(seed: number, log?: (line: string) => void): Promise<SeedRun>;
}

/** The folder of the checkout. */
export const checkout: string = fileURLToPath(new URL("../../..", import.meta.url).href);

/** From the checkout. */
export function scriptOf(name: SubjectName): string {
  return `scripts/simulate_${name}.ts`;
}

/** The command that shows a seed again. */
export function replayLine(name: SubjectName, seed: number): string {
  return `node_modules/.bin/bun ${scriptOf(name)} --seed ${seed}`;
}
