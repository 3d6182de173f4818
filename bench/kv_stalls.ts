/** Follows `covey_loop_stall_seconds` of every node of a cluster through the admin endpoint. */
import { setTimeout as sleep } from "node:timers/promises";
import type { CoveyCluster } from "./kv_peers.ts";

const everyMs = 250;

/** One task's histogram at one moment: its count below each bound, and its sum. */
interface Series {
  readonly bounds: Map<number, number>;
  sum: number;
}

function parse(text: string): Map<string, Series> {
  const found = new Map<string, Series>();
  const pattern = /^covey_loop_stall_seconds_(bucket|sum)\{([^}]*)\}\s+(\S+)/gm;
  for (const [, kind, labels, value] of text.matchAll(pattern)) {
    const task = /task="([^"]*)"/.exec(labels)?.[1] ?? "";
    const series = found.get(task) ?? { bounds: new Map(), sum: 0 };
    found.set(task, series);
    if (kind === "sum") series.sum = Number(value);
    else {
      const bound = /le="([^"]*)"/.exec(labels)?.[1] ?? "+Inf";
      series.bounds.set(bound === "+Inf" ? Infinity : Number(bound), Number(value));
    }
  }
  return found;
}

/** The longest stall that was added between two moments: at most this many seconds. */
function longest(before: Series | undefined, now: Series): number {
  let bound = 0;
  let below = 0;
  for (const [le, count] of [...now.bounds].sort(([a], [b]) => a - b)) {
    const added = count - (before?.bounds.get(le) ?? 0);
    if (added > below) bound = le;
    below = added;
  }
  if (bound === 0) return 0;
  // The bucket says how long it was at most, and so does the sum of all of them.
  return Math.min(bound, now.sum - (before?.sum ?? 0));
}

/** Samples often, so that a sample rarely holds more than one stall. */
export class StallWatch {
  readonly #urls: readonly string[];
  readonly #last: Map<string, Map<string, Series>> = new Map();
  readonly #running: Promise<void>;
  #isOver = false;
  #seconds = 0;
  #task = "";

  private constructor(urls: readonly string[]) {
    this.#urls = urls;
    this.#running = this.#run();
  }

  /** Of the nodes that are there now. They must have been started with their admin endpoint. */
  static of(cluster: CoveyCluster): StallWatch {
    const urls = cluster.nodes.map((node) => {
      const admin = node.ready?.listeners["admin"];
      if (admin === undefined) throw new Error(`${node.name} has no admin endpoint`);
      return `${admin.replace("tcp:", "http:")}/metrics`;
    });
    return new StallWatch(urls);
  }

  /** The longest stall since it was made, for people. */
  async stop(): Promise<string> {
    this.#isOver = true;
    await this.#running;
    if (this.#task === "") return "none above 10 ms";
    return `${(this.#seconds * 1000).toFixed(0)} ms (${this.#task})`;
  }

  async #run(): Promise<void> {
    await this.#sample(true);
    while (!this.#isOver) {
      await sleep(everyMs);
      await this.#sample(false);
    }
  }

  async #sample(isFirst: boolean): Promise<void> {
    for (const url of this.#urls) {
      const now = parse(await (await fetch(url)).text());
      for (const [task, series] of isFirst ? [] : now) {
        const seconds = longest(this.#last.get(url)?.get(task), series);
        if (seconds <= this.#seconds) continue;
        this.#seconds = seconds;
        this.#task = task;
      }
      this.#last.set(url, now);
    }
  }
}
