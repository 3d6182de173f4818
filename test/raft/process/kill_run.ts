/**
 * Many kills of a cluster that works: leaders, followers, majorities and everybody, by turns. The
 * ledger counts each acknowledged write; a small load beside it is judged by the checker after each
 * few kills, whose keys are new ones each time, so that a run may be as long as one likes.
 */
import assert from "node:assert/strict";
import { Prng } from "../../../src/base/prng.ts";
import type { ClusterNode } from "../../support/cluster.ts";
import { type Lab, withLab } from "./lab.ts";
import { Ledger } from "./ledger.ts";
import { Load } from "./load.ts";
import { History } from "./recorder.ts";
import { judgeHistory } from "../../simulation/linearizability/report.ts";

export interface KillRunOptions {
  readonly kills: number;
  /** Acknowledged writes in all. */
  readonly writes: number;
  readonly seed: number;
  readonly workers: number;
  readonly say: (line: string) => void;
}

export interface KillRunResult {
  readonly kills: number;
  readonly acknowledgedWrites: number;
  readonly unknown: number;
  readonly lost: number;
  readonly twice: number;
  readonly wentBack: number;
  /** Operations that the checker judged. */
  readonly judged: number;
  /** Milliseconds from a kill to the first success of a write that was begun after it. */
  readonly leaderMs: readonly number[];
  readonly followerMs: readonly number[];
  /** The same from the moment at which all nodes run again, where a majority was killed. */
  readonly majorityMs: readonly number[];
  readonly failures: ReadonlyMap<string, number>;
}

const clientCount = 8;
/** On average, so that a run that hangs ends. */
const killMsMax = 60_000;
/** Kills between two judgements. */
const judgedKills = 5;
const checkedClients = 4;

type Whom = "leader" | "follower" | "majority" | "all";

export function killRun(options: KillRunOptions): Promise<KillRunResult> {
  // Every other run takes snapshots and new files of its log all the time.
  const raft = options.seed % 2 === 0
    ? { segment_bytes: "256KiB", snapshot_log_bytes: "1MiB", catch_up_bytes: "64KiB" }
    : {};
  return withLab({ config: { raft } }, async (lab) => {
    await lab.start();
    return await new KillRun(lab, options).run();
  }, options.kills * killMsMax);
}

class KillRun {
  readonly #lab: Lab;
  readonly #options: KillRunOptions;
  readonly #prng: Prng;
  readonly #ledger: Ledger;
  readonly #leaderMs: number[] = [];
  readonly #followerMs: number[] = [];
  readonly #majorityMs: number[] = [];
  #judged = 0;
  #kills = 0;

  constructor(lab: Lab, options: KillRunOptions) {
    this.#lab = lab;
    this.#options = options;
    this.#prng = new Prng(options.seed);
    this.#ledger = new Ledger({
      clients: lab.clients(clientCount, { sessions: true }),
      workers: options.workers,
      seed: options.seed,
      name: "ledger",
    });
  }

  async run(): Promise<KillRunResult> {
    const { kills, writes, say } = this.#options;
    const ledger = this.#ledger;
    ledger.start();
    for (let block = 0; this.#kills < kills; block++) {
      const load = this.#checked(block);
      for (let at = 0; at < judgedKills && this.#kills < kills; at++) {
        await this.#kill(this.#draw(), Math.floor(writes / kills));
      }
      await load.stop();
      const problem = judgeHistory(load.history.operations);
      if (problem !== undefined) assert.fail(problem);
      this.#judged += load.history.operations.length;
      say(
        `${this.#kills} kills, ${ledger.acknowledgedWrites} acknowledged writes, ` +
          `${ledger.unknown} unknown, ${ledger.wentBack} reads went back`,
      );
    }
    const missing = writes - ledger.acknowledgedWrites;
    if (missing > 0) await ledger.acknowledged(missing);
    await ledger.stop();
    await this.#lab.converged();
    let lost = 0;
    let twice = 0;
    for (const node of this.#lab.nodes) {
      const found = await ledger.compare(this.#lab.client({ nodes: [node], sessions: false }));
      lost = Math.max(lost, found.lost);
      twice = Math.max(twice, found.twice);
    }
    const { acknowledgedWrites, unknown, wentBack, failures } = ledger;
    return {
      ...{ kills: this.#kills, acknowledgedWrites, unknown, lost, twice, wentBack, failures },
      judged: this.#judged,
      leaderMs: this.#leaderMs,
      followerMs: this.#followerMs,
      majorityMs: this.#majorityMs,
    };
  }

  /** A load whose every answer is judged. */
  #checked(block: number): Load {
    const load = new Load({
      clients: this.#lab.clients(checkedClients),
      seed: this.#options.seed + block,
      history: new History(),
      name: `block ${block} `,
    });
    load.start();
    return load;
  }

  #draw(): Whom {
    const drawn = this.#prng.below(20);
    if (drawn === 0) return "all";
    if (drawn === 1) return "majority";
    return drawn % 2 === 0 ? "leader" : "follower";
  }

  async #kill(whom: Whom, writes: number): Promise<void> {
    const ledger = this.#ledger;
    // At any moment of the work, not always after the same number of writes.
    const before = this.#prng.between(1, Math.max(1, writes - 1));
    await ledger.acknowledged(before);
    const victims = await this.#victims(whom);
    const sinceMs = performance.now();
    await Promise.all(victims.map((node) => node.kill()));
    this.#kills += victims.length;
    if (victims.length === 1) {
      const times = whom === "leader" ? this.#leaderMs : this.#followerMs;
      times.push(await ledger.recovered(sinceMs));
      // It misses some of the writes, or nearly none.
      await ledger.acknowledged(this.#prng.between(1, Math.max(1, writes - before)));
    }
    const startedMs = performance.now();
    await Promise.all(victims.map((node) => node.start()));
    if (victims.length > 1) this.#majorityMs.push(await ledger.recovered(startedMs));
    for (const node of victims) await this.#lab.caughtUp(node);
    await ledger.acknowledged(Math.max(1, writes * victims.length - 2 * before));
  }

  async #victims(whom: Whom): Promise<readonly ClusterNode[]> {
    if (whom === "all") return this.#lab.nodes;
    const leader = await this.#lab.leader();
    const followers = this.#lab.nodes.filter((node) => node !== leader);
    if (whom === "leader") return [leader];
    return whom === "majority"
      ? [leader, this.#prng.pick(followers)]
      : [this.#prng.pick(followers)];
  }
}
