/** Sessions by number: the same seed gives the same session, on both engines. */
import { Prng } from "../../../src/base/prng.ts";
import { nothingReached, type Reached } from "./check.ts";
import { ClientFuzz, type MakeClient, makeClient } from "./client_target.ts";
import { type MakeServer, makeServer, ServerFuzz } from "./server_target.ts";

export const targetNames = ["server", "client"] as const;
export type TargetName = (typeof targetNames)[number];

/** What is under fuzz; the tests put broken machines here. */
export interface Targets {
  readonly server: MakeServer;
  readonly client: MakeClient;
}

export const realTargets: Targets = { server: makeServer, client: makeClient };

/** The most frames of a session. */
export const sessionFramesMax = 400;

/** Runs one session; throws what it finds. */
export function runSession(
  target: TargetName,
  seed: number,
  reached: Reached = nothingReached(),
  targets: Targets = realTargets,
): void {
  const random = new Prng(seed);
  const frames = random.between(1, sessionFramesMax);
  if (target === "server") new ServerFuzz(random, reached, targets.server).run(frames);
  else new ClientFuzz(random, reached, targets.client).run(frames);
}

export interface Finding {
  readonly target: TargetName;
  readonly seed: number;
  readonly error: Error;
  /** The command that runs this session again. */
  readonly replay: string;
}

/** The seed of a run's n-th session: runs with different seeds share none. */
export function sessionSeed(seed: number, index: number): number {
  return (Math.imul(seed, 0x9e3779b1) + index) >>> 0;
}

/** Runs sessions until enough frames were fed, or one of them finds something. */
export function runSessions(options: {
  readonly seed: number;
  readonly frames: number;
  readonly only?: TargetName;
  readonly targets?: Targets;
  /** Called after each session; false ends the run. */
  readonly after?: (reached: Reached) => boolean;
}): { readonly reached: Reached; readonly sessions: number; readonly finding?: Finding } {
  const reached = nothingReached();
  let sessions = 0;
  while (reached.frames < options.frames) {
    const target = options.only ?? targetNames[sessions % 2];
    const seed = sessionSeed(options.seed, sessions++);
    try {
      runSession(target, seed, reached, options.targets);
    } catch (error) {
      const replay = `bun scripts/fuzz_ttrpc.ts --target ${target} --session ${seed}`;
      return { reached, sessions, finding: { target, seed, error: error as Error, replay } };
    }
    if (options.after?.(reached) === false) break;
  }
  return { reached, sessions };
}
