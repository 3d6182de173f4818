/** The row of the simulator's speed: what its own script measures. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Group } from "./kv_bench.ts";

const measure = "simulator, three nodes at 10 operations a second, one core (events per second)";
const script = fileURLToPath(new URL("../scripts/simulate_raft.ts", import.meta.url).href);

/** What `scripts/simulate_raft.ts --speed` says. */
const pattern = /([\d.]+)× real time, ([\d.]+)k events\/s/;

export const simulator: Group = {
  name: "simulator",
  measures: [measure],
  async run(bench) {
    if (!existsSync(script)) {
      bench.note("skipped: the simulator's speed, because scripts/simulate_raft.ts is not there");
      return [];
    }
    const child = spawn(process.execPath, [script, "--speed"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (chunk) => text += chunk);
    const [code] = await once(child, "close");
    const found = pattern.exec(text);
    if (code !== 0 || found === null) throw new Error(`${script} --speed failed: ${text}`);
    return [{
      measure,
      covey: `${found[1]}× real time (${found[2]}k/s)`,
      etcd: "",
      ratio: "",
      reach: "≥ 300×",
    }];
  },
};
