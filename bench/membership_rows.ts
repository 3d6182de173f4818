/** The paper's experiments (section 7) with the protocol core in virtual time: one row for each. */
import { lan, lossy, lowLatency, type Profile } from "../src/membership/core/options.ts";
import { Lab } from "./membership_lab.ts";
import type { LabNode } from "./membership_node.ts";

export interface Row {
  readonly measure: string;
  readonly covey: string;
  readonly paper: string;
  readonly target: string;
}

export interface Bench {
  /** Runs of each experiment. */
  readonly seeds: number;
  readonly all: boolean;
  note(text: string): void;
}

export interface Group {
  readonly name: string;
  readonly measures: readonly string[];
  run(bench: Bench): readonly Row[] | Promise<readonly Row[]>;
}

const members = 1_000;
const failures = 10;
/** Over which those who join start. */
export const joinSpreadMs = 2_000;
const limitMs = 120_000;

interface Bootstrap {
  readonly ms: number;
  readonly sizes: number;
  readonly wallMs: number;
}

function bootstrap(seed: number, count: number, spreadMs: number): Bootstrap {
  const startedMs = performance.now();
  const lab = new Lab({ seed, profile: lan });
  lab.found(1);
  const [first] = lab.nodes;
  for (let at = 1; at < count; at++) {
    lab.clock.at(lab.prng.fraction() * spreadMs, () => lab.join(at, [first.address]));
  }
  if (!lab.clock.run(limitMs, () => lab.have(count, count))) throw new Error("not everybody is in");
  return { ms: lab.nowMs, sizes: lab.sizes.size, wallMs: performance.now() - startedMs };
}

const bootstraps = [
  { count: 1_000, paper: "29.6 s, 4 sizes", target: "≤ 10 s, ≤ 4 sizes" },
  { count: 1_500, paper: "40.0 s, 8 sizes", target: "≤ 12 s, ≤ 8 sizes" },
  { count: 2_000, paper: "53.5 s, 4 sizes", target: "≤ 15 s, ≤ 4 sizes" },
];
const slowSpreadMs = 10_000;
const slowMeasure = `1,000 join one seed over ${slowSpreadMs / 1_000} s`;
const simulated = "simulating 2,000 that join, on one core";

function joinMeasure(count: number): string {
  return `${count.toLocaleString("en-US")} join one seed over ${joinSpreadMs / 1_000} s: ` +
    "until all have the full view";
}

export const joins: Group = {
  name: "bootstrap",
  measures: [...bootstraps.map(({ count }) => joinMeasure(count)), slowMeasure, simulated],
  run: (bench) => {
    const rows: Row[] = [];
    let slowest = 0;
    const measure = (count: number, spreadMs: number): string => {
      const runs: Bootstrap[] = [];
      for (let seed = 1; seed <= bench.seeds; seed++) {
        const run = bootstrap(seed, count, spreadMs);
        runs.push(run);
        bench.note(`${count}, seed ${seed}: ${seconds(run.ms)}, ${run.sizes} sizes`);
        if (count === 2_000) slowest = Math.max(slowest, run.wallMs);
      }
      const times = runs.map(({ ms }) => ms);
      return `${seconds(median(times))}, ${Math.max(...runs.map(({ sizes }) => sizes))} sizes`;
    };
    for (const { count, paper, target } of bootstraps) {
      rows.push({
        measure: joinMeasure(count),
        covey: measure(count, joinSpreadMs),
        paper,
        target,
      });
    }
    rows.push({
      measure: slowMeasure,
      covey: measure(1_000, slowSpreadMs),
      paper: "",
      target: "",
    });
    rows.push({
      measure: simulated,
      covey: `${seconds(slowest)} of wall time`,
      paper: "",
      target: "≤ 60 s",
    });
    return rows;
  },
};

/** A cluster whose probes have been going on for long enough to fill the detector's window. */
function steady(seed: number, profile: Profile, countsBytes = false): Lab {
  const lab = new Lab({ seed, profile, countsBytes });
  lab.found(members);
  lab.clock.run(profile.probes.intervalMs * (profile.probes.window + 2 + lab.prng.fraction()));
  return lab;
}

function pick(lab: Lab): LabNode[] {
  const nodes = new Set<LabNode>();
  while (nodes.size < failures) nodes.add(lab.prng.pick(lab.nodes));
  return [...nodes];
}

const crashProfiles = [
  {
    name: "lan",
    profile: lan,
    paper: "1 cut, about 10 s after Memberlist's",
    target: "1 cut, ≤ 8 s",
  },
  { name: "low_latency", profile: lowLatency, paper: "", target: "1 cut, ≤ 1.5 s" },
  { name: "lossy", profile: lossy, paper: "", target: "" },
];

function crashMeasure(name: string): string {
  return `${failures} of 1,000 crash, profile \`${name}\`: until the others have the new view`;
}

export const crashes: Group = {
  name: "crash",
  measures: crashProfiles.map(({ name }) => crashMeasure(name)),
  run: (bench) =>
    crashProfiles.map(({ name, profile, paper, target }) => {
      const times: number[] = [];
      let cuts = 0;
      for (let seed = 1; seed <= bench.seeds; seed++) {
        const lab = steady(seed, profile);
        const startedMs = lab.nowMs;
        for (const node of pick(lab)) node.crash();
        const left = members - failures;
        if (!lab.clock.run(limitMs, () => lab.have(left, left))) throw new Error("still there");
        times.push(lab.nowMs - startedMs);
        cuts = Math.max(cuts, lab.views.size - 1);
        bench.note(`${name}, seed ${seed}: ${seconds(times[times.length - 1])}`);
      }
      const covey = `${cutsOf(cuts)}, ${seconds(median(times))} (at most ${
        seconds(Math.max(...times))
      })`;
      return { measure: crashMeasure(name), covey, paper, target };
    }),
};

interface Faulty {
  readonly cuts: readonly { readonly size: number; readonly afterMs: number }[];
  /** Evictions of those with the fault, and of others. */
  readonly evictions: number;
  readonly others: number;
  /** Of those with the fault, members at the end. */
  readonly inside: number;
}

function faulty(
  seed: number,
  { rejoins, forMs }: { readonly rejoins: boolean; readonly forMs: number },
  begin: (lab: Lab, nodes: readonly LabNode[]) => void,
): Faulty {
  const lab = new Lab({ seed, profile: lan, rejoins });
  lab.found(members);
  lab.clock.run(lan.probes.intervalMs * (lan.probes.window + 2 + lab.prng.fraction()));
  const nodes = pick(lab);
  const startedMs = lab.nowMs;
  begin(lab, nodes);
  lab.clock.run(forMs);
  const bad = new Set(nodes);
  const cuts = [...lab.views.values()].slice(1)
    .map(({ size, atMs }) => ({ size, afterMs: atMs - startedMs }));
  let others = 0;
  for (const node of lab.nodes) if (!bad.has(node)) others += node.evictions;
  const sum = (count: (node: LabNode) => number): number =>
    nodes.reduce((most, node) => most + count(node), 0);
  return {
    cuts,
    others,
    evictions: sum(({ evictions }) => evictions),
    inside: sum(({ view }) => view === undefined ? 0 : 1),
  };
}

/** Nothing comes in for twenty seconds, then everything for as long, and so on. */
function flipFlop(lab: Lab, nodes: readonly LabNode[]): void {
  const flip = (loss: number): void => {
    for (const node of nodes) node.ingressLoss = loss;
    lab.clock.at(20_000, () => flip(1 - loss));
  };
  flip(1);
}

function egressLoss(_lab: Lab, nodes: readonly LabNode[]): void {
  for (const node of nodes) node.egressLoss = 0.8;
}

const faults = [
  {
    name: "ingress off and on every 20 s at 1 % of 1,000",
    begin: flipFlop,
    paper: "1 cut",
    target: "1 cut, only those leave",
  },
  {
    name: "80 % egress loss at 1 % of 1,000",
    begin: egressLoss,
    paper: "1 cut",
    target: "only those leave, no flapping",
  },
];
const staying = "those who were evicted stay out";
const returning = "they come back when they can";

function faultGroup(name: string, fault: (typeof faults)[number]): Group {
  return {
    name,
    measures: [staying, returning].map((what) => `${fault.name}, ${what}`),
    run: (bench) =>
      [false, true].map((rejoins) => {
        const forMs = rejoins && bench.all ? 600_000 : 120_000;
        const runs: Faulty[] = [];
        for (let seed = 1; seed <= (rejoins ? 1 : bench.seeds); seed++) {
          const run = faulty(seed, { rejoins, forMs }, fault.begin);
          runs.push(run);
          bench.note(
            `${fault.name}, seed ${seed}: ${
              run.cuts.map(({ size, afterMs }) => `${size} after ${seconds(afterMs)}`).join(", ")
            }; ${run.evictions} evictions, ${run.others} of others, ${run.inside} inside`,
          );
        }
        const most = (of: (run: Faulty) => number): number => Math.max(...runs.map(of));
        const covey = `${
          cutsOf(most(({ cuts }) => cuts.length))
        } in ${forMs / 1_000} s, the first ` +
          `after ${seconds(median(runs.map(({ cuts }) => cuts[0]?.afterMs ?? Infinity)))}; ` +
          `${most(({ others }) => others)} others evicted`;
        return {
          measure: `${fault.name}, ${rejoins ? returning : staying}`,
          covey,
          paper: rejoins ? "" : fault.paper,
          target: rejoins && fault.begin === flipFlop ? "" : fault.target,
        };
      }),
  };
}

export const flips: Group = faultGroup("flip", faults[0]);
export const losses: Group = faultGroup("loss", faults[1]);

const windowS = 60;
const trafficMeasures = [
  "KB/s per process, received / sent, steady: mean",
  "p99",
  "max",
  `KB/s per process, received / sent, ${windowS} s around a crash of ${failures}: mean`,
  "p99 then",
  "max then",
];
const paperTraffic = ["0.71 / 0.71", "3.66 / 3.72", "9.56 / 11.37"];

/** Of every process in every second. */
function samples(lab: Lab, fromS: number, untilS: number): { rx: number[]; tx: number[] } {
  const rx: number[] = [];
  const tx: number[] = [];
  for (const { traffic, isRunning } of lab.nodes) {
    if (!isRunning) continue;
    for (let second = fromS; second < untilS; second++) {
      rx.push(traffic.receivedIn(second));
      tx.push(traffic.sentIn(second));
    }
  }
  const ascending = (a: number, b: number): number => a - b;
  return { rx: rx.sort(ascending), tx: tx.sort(ascending) };
}

export const traffic: Group = {
  name: "traffic",
  measures: trafficMeasures,
  run: () => {
    const lab = steady(1, lan, true);
    // Links and their first words are no steady state.
    const fromS = Math.ceil(lab.nowMs / 1_000);
    lab.clock.run((fromS + windowS) * 1_000 - lab.nowMs);
    const crashS = fromS + windowS;
    const quiet = samples(lab, fromS, crashS);
    lab.clock.run(windowS / 3 * 1_000);
    for (const node of pick(lab)) node.crash();
    lab.clock.run(windowS * 2 / 3 * 1_000);
    const busy = samples(lab, crashS, crashS + windowS);
    const of = ({ rx, tx }: { rx: number[]; tx: number[] }): string[] => [
      `${kilobytes(mean(rx))} / ${kilobytes(mean(tx))}`,
      `${kilobytes(rx[Math.floor(rx.length * 0.99)])} / ${
        kilobytes(tx[Math.floor(tx.length * 0.99)])
      }`,
      `${kilobytes(rx[rx.length - 1])} / ${kilobytes(tx[tx.length - 1])}`,
    ];
    return [...of(quiet), ...of(busy)].map((covey, at) => ({
      measure: trafficMeasures[at],
      covey,
      paper: at < 3 ? "" : paperTraffic[at - 3],
      target: at === 0 ? "≤ 0.71 / ≤ 0.71" : "",
    }));
  },
};

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

function kilobytes(bytes: number): string {
  return (bytes / 1_000).toFixed(2);
}

function cutsOf(count: number): string {
  return count === 1 ? "1 cut" : `${count} cuts`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
