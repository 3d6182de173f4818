/**
 * A quick run of the frame fuzzer, and the proof that it finds something: machines that were
 * broken on purpose. The long run is `bun scripts/fuzz_ttrpc.ts --frames 10000000`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DoubleServer,
  DriftingClient,
  HoardingServer,
  MuteServer,
  TalkativeServer,
  ThrowingServer,
} from "./fuzz/broken.ts";
import { realTargets, runSession, runSessions, type TargetName, type Targets } from "./fuzz/run.ts";

/** Fixed, so that a red test is red again; the long run takes another one each time. */
const seed = 7;

for (const only of ["server", "client"] as const) {
  test(`fuzz: the ${only} machine keeps its promises`, () => {
    const { reached, finding } = runSessions({ seed, frames: 300_000, only });
    if (finding !== undefined) {
      throw new Error(`replay: ${finding.replay}`, { cause: finding.error });
    }
    // Whatever is never reached is not tested.
    for (const [name, count] of Object.entries(reached)) {
      // Only servers keep answers.
      assert.ok(count > 0 || (name === "kept" && only === "client"), `${name} is 0`);
    }
  });
}

test("fuzz: the same session does the same, frame by frame", () => {
  const logs = [1, 2].map(() => {
    const log: unknown[] = [];
    const targets: Targets = {
      ...realTargets,
      server: (options, events) => {
        const server = realTargets.server(options, events);
        const receive = server.receive.bind(server);
        server.receive = (chunk, nowMs) => {
          log.push([...chunk], nowMs, server.output.position);
          receive(chunk, nowMs);
        };
        return server;
      },
    };
    runSession("server", 12345, undefined, targets);
    return log;
  });
  assert.deepEqual(logs[0], logs[1]);
});

const broken: readonly (readonly [string, TargetName, Targets, RegExp])[] = [
  [
    "throws on a frame",
    "server",
    { ...realTargets, server: (...args) => new ThrowingServer(...args) },
    /too clever/,
  ],
  [
    "tells of an end twice",
    "server",
    { ...realTargets, server: (...args) => new DoubleServer(...args) },
    /ended twice/,
  ],
  [
    "forgets its limits",
    "server",
    { ...realTargets, server: (...args) => new HoardingServer(...args) },
    /no end/,
  ],
  [
    "writes after the end",
    "server",
    { ...realTargets, server: (...args) => new TalkativeServer(...args) },
    /after the end|were owed/,
  ],
  [
    "does not answer",
    "server",
    { ...realTargets, server: (...args) => new MuteServer(...args) },
    /were owed|left in the table|outlived/,
  ],
  [
    "writes ids out of order",
    "client",
    { ...realTargets, client: (...args) => new DriftingClient(...args) },
    /has a gap|in flight once/,
  ],
];

for (const [what, only, targets, expected] of broken) {
  test(`fuzz: a ${only} that ${what} is found, and its seed finds it again`, () => {
    const { finding } = runSessions({ seed, frames: 200_000, only, targets });
    assert.ok(finding !== undefined, "the fuzzer found nothing");
    assert.match(String(finding.error), expected);
    assert.match(finding.replay, /--target (server|client) --session \d+$/);
    assert.throws(() => runSession(only, finding.seed, undefined, targets), expected);
  });
}
