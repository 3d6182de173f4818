/** What a failure costs: a steady load, a fault in the middle of it, and what the load saw. */
import { setTimeout as sleep } from "node:timers/promises";
import type { LoadProcess } from "./kv_commands.ts";
import type { BenchCluster } from "./kv_peers.ts";
import { bucketMs, type WorkResult } from "./kv_work.ts";

/** Clients that write, each its own keys, over two connections to each node. */
export const clients = 32;
/** A client gives a node this long before it tries the next one. */
export const attemptMs = 1000;
const warmUpMs = 2000;
const beforeMs = 4000;
const afterMs = 8000;

/** One failure. The load runs from before `begin` until some time after `end`. */
export interface Fault {
  /** Resolves when the fault is there. */
  begin(): Promise<void> | void;
  /** How long it stays, when it does not end by itself. */
  readonly holdMs: number;
  /** Ends it; resolves when everything is as it was before. */
  end(): Promise<void> | void;
}

export interface Cost {
  readonly beforePerSecond: number;
  /** The lowest rate in any half second from the fault on, as a part of the rate before. */
  readonly lowest: number;
  /** From the fault to the first success of a write that was begun after it. */
  readonly firstMs: number;
  /** From the fault until a whole second had 90 % of the rate before; Infinity for never. */
  readonly backMs: number;
  /** The same from the end of the fault, when it was not back before. */
  readonly backAfterEndMs: number | undefined;
  /** Between the fault and its end. */
  readonly p99Ms: number;
  readonly acknowledged: number;
  readonly lost: number;
}

/** Runs the load around one fault, then reads back every write that was acknowledged. */
export async function measure(
  cluster: BenchCluster,
  load: LoadProcess,
  fault: Fault,
): Promise<Cost> {
  const running = cluster.nodes.filter((node) => node.isRunning);
  const addresses = running.map((node) => node.address);
  await load.connectEach([...addresses, ...addresses]);
  await load.begin({ clients, keys: 0, timeoutMs: attemptMs, retry: true });
  await sleep(warmUpMs);
  await load.mark("before");
  await sleep(beforeMs);
  const begun = fault.begin();
  // Now, not before: a write that a killed node had just answered is none after the kill.
  await load.mark("fault");
  await begun;
  await sleep(fault.holdMs);
  await load.mark("ended");
  await fault.end();
  await sleep(afterMs);
  const result = await load.end();
  const { read, lost } = await load.verify((await cluster.leader()).address, 10_000);
  if (read !== result.operations) {
    throw new Error(`${result.operations} writes were acknowledged and ${read} were looked for`);
  }
  return { ...costOf(result), acknowledged: read, lost: lost.length };
}

function costOf(result: WorkResult): Omit<Cost, "acknowledged" | "lost"> {
  const window = (name: string): WorkResult["windows"][number] => {
    const found = result.windows.find((one) => one.name === name);
    if (found === undefined) throw new Error(`no window ${name}`);
    return found;
  };
  const [before, fault, ended] = [window("before"), window("fault"), window("ended")];
  const perBucket = before.perSecond * bucketMs / 1000;
  // The last bucket is cut by the end of the run.
  const buckets = result.buckets.slice(0, -1);
  const from = Math.ceil(fault.atMs / bucketMs);
  const sum = (at: number, count: number): number =>
    buckets.slice(at, at + count).reduce((total, one) => total + one, 0);
  let lowest = Infinity;
  let lowestAt = from;
  for (let at = from; at + 5 <= buckets.length; at++) {
    const part = sum(at, 5) / (5 * perBucket);
    if (part < lowest) [lowest, lowestAt] = [part, at];
  }
  // Looked for from the bottom on, since before it the rate may not have fallen yet.
  let back = -1;
  for (let at = lowestAt; at + 10 <= buckets.length && back < 0; at++) {
    if (sum(at, 10) >= 0.9 * 10 * perBucket) back = at;
  }
  const neverFell = lowest >= 0.9;
  const backMs = neverFell ? 0 : back < 0 ? Infinity : Math.max(0, back * bucketMs - fault.atMs);
  const endedMs = ended.atMs - fault.atMs;
  return {
    beforePerSecond: before.perSecond,
    lowest,
    firstMs: fault.firstMs,
    backMs,
    backAfterEndMs: backMs > endedMs ? backMs - endedMs : undefined,
    p99Ms: fault.latencyMicros.p99 / 1000,
  };
}
