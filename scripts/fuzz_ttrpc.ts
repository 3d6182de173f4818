/**
 * The long run of the ttrpc fuzzer (test/ttrpc/fuzz): sessions of a peer gone mad against the
 * server and the client machine, until so many frames were fed or a promise is broken.
 *
 *   bun scripts/fuzz_ttrpc.ts --frames 10000000 [--seed N] [--target server|client]
 *   bun scripts/fuzz_ttrpc.ts --target server --session N     runs the one session that failed
 *
 * Prints frames per second and the process's memory at the start, the middle and the end; memory
 * must be flat. A finding ends it with exit code 1 and one line that replays it.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { nothingReached } from "../test/ttrpc/fuzz/check.ts";
import { runSession, runSessions, type TargetName } from "../test/ttrpc/fuzz/run.ts";

const { values } = parseArgs({
  options: {
    frames: { type: "string", default: "1000000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    target: { type: "string" },
    session: { type: "string" },
  },
});
const target = values.target as TargetName | undefined;
if (target !== undefined && target !== "server" && target !== "client") {
  console.error(`--target ${target}: allowed are server and client`);
  process.exit(2);
}

if (values.session === undefined) fuzz(whole("frames", values.frames), whole("seed", values.seed));
else replay(whole("session", values.session));

function whole(name: string, text: string): number {
  if (!/^\d{1,12}$/.test(text)) {
    console.error(`--${name} ${text}: a whole number is needed`);
    process.exit(2);
  }
  return Number(text);
}

function replay(session: number): void {
  const reached = nothingReached();
  runSession(target ?? "server", session, reached);
  console.log(`session ${session} holds: ${JSON.stringify(reached)}`);
}

function fuzz(frames: number, seed: number): void {
  const megabytes = () => `${(process.memoryUsage().rss / 1e6).toFixed(1)} MB`;
  const marks: string[] = [];
  const beganMs = performance.now();
  const { reached, sessions, finding } = runSessions({
    seed,
    frames,
    only: target,
    after({ frames: fed }) {
      // The start is taken after the engine has warmed up.
      const parts = [0.05, 0.5, 1];
      if (marks.length < 3 && fed >= frames * parts[marks.length]) marks.push(megabytes());
      return true;
    },
  });
  if (finding !== undefined) {
    console.error(finding.error);
    console.error(`replay: ${finding.replay}`);
    process.exit(1);
  }
  const seconds = (performance.now() - beganMs) / 1000;
  console.log(
    `seed ${seed}: ${reached.frames} frames in ${sessions} sessions, ${seconds.toFixed(1)} s, ` +
      `${Math.round(reached.frames / seconds)} frames/s`,
  );
  console.log(`rss at the start ${marks[0]}, middle ${marks[1]}, end ${marks[2]}`);
  console.log(`reached: ${JSON.stringify(reached)}`);
}
