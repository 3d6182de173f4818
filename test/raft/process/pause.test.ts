/**
 * A process that is stopped for longer than an election takes and then goes on as if no time had
 * passed: what a suspended machine, a debugger or a starved container do.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Lab, withLab } from "./lab.ts";
import type { Load } from "./load.ts";
import { Recorder } from "./recorder.ts";
import { report } from "./report.ts";
import { verify } from "./verify.ts";
import { watchFor } from "./waiting.ts";

const writesAround = 150;
/** Of requests that wait at the stopped process. */
const waiting = 16;
const patientMs = 20_000;
/** Longer than the election timeout in force, several times. */
const pausedMs = 2_500;

/** What clients ask of the stopped node alone; it has to be answered after the node goes on. */
function askWhileStopped(lab: Lab, recorder: Recorder): Promise<unknown> {
  const { operations } = lab.history;
  const written = operations.flatMap(({ input, output }) =>
    output === undefined ? [] : input.success.flatMap((one) => one.kind === "put" ? [one.key] : [])
  );
  // Not those keys that are written once only.
  const newest = written.filter((key) => key.startsWith("t")).slice(-waiting);
  return Promise.all([
    ...newest.map((key) => recorder.get(key, patientMs)),
    ...newest.map((key, at) => recorder.put(key, `late${at}`, patientMs)),
  ]);
}

async function stopFollower(lab: Lab, load: Load): Promise<void> {
  const [follower] = await lab.followers();
  const term = await lab.term();
  const sinceMs = performance.now();
  follower.pause();
  await load.acknowledged(writesAround);
  await watchFor(pausedMs - (performance.now() - sinceMs), () => {});
  follower.resume();
  await lab.caughtUp(follower);
  await load.acknowledged(writesAround);
  report(
    `SIGSTOP of a follower: longest gap ${load.longestGapMs(sinceMs)} ms, ` +
      `${await lab.electionsSince(term)} elections`,
  );
}

/** With leases a leader answers reads by itself: time that passed while it was stopped has to count. */
async function stopLeader(leases: boolean): Promise<void> {
  await withLab({ config: { raft: { lease_reads: leases } } }, async (lab) => {
    await lab.start();
    const load = lab.load({ clients: lab.clients(8), seed: 4 });
    await load.acknowledged(writesAround);
    const leader = await lab.leader();
    const before = await lab.group(leader);
    const patient = new Recorder(
      "patient",
      lab.client({ nodes: [leader], sessions: false, timeoutMs: patientMs }),
      lab.history,
    );
    // So that there is a connection to ask on.
    assert.equal((await patient.get("t0/0")).kind, "answered");
    const sinceMs = performance.now();
    leader.pause();
    const recoveredMs = await load.recovered(sinceMs);
    const others = lab.nodes.filter((node) => node !== leader);
    const successor = await lab.leader(others);
    const { term } = await lab.group(successor);
    assert.ok(term > before.term);
    await load.acknowledged(writesAround);
    const asked = askWhileStopped(lab, patient);
    await watchFor(pausedMs - (performance.now() - sinceMs), () => {});
    leader.resume();
    await asked;
    await load.acknowledged(2 * writesAround);
    if (!leases) await stopFollower(lab, load);
    await load.stop();
    await verify(lab);
    const elections = await lab.electionsSince(Number(term));
    report(
      `SIGSTOP of the leader${leases ? ", which reads by its lease" : ""}: writes again after ` +
        `${recoveredMs} ms, ${elections} elections since it goes on; ${load.describe()}`,
    );
  });
}

test("processes: a leader that was stopped serves nothing of the past, a follower disturbs nobody", () =>
  stopLeader(false));

test("processes: neither does one that reads by its lease", () => stopLeader(true));
