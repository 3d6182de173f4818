/**
 * Run as a program in a network namespace of its own, where it may do as it likes with interfaces:
 * two nodes by multicast on an interface that comes late, goes, and comes back as another one. Takes
 * the family, `IPv4` or `IPv6`; prints a line for each step that it came to.
 */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { LanDiscovery } from "../../src/discovery/lan.ts";
import { pickRuntime } from "../compliance/real.ts";
import { partsOf, Sink } from "./support.ts";

const group = process.argv.at(-1) === "IPv6" ? "ff15::7946" : "239.255.80.46";
const runtime = (await pickRuntime())();

/** Wakes whoever waits at each line of a log and each list of candidates. */
let wake: () => void = () => {};

async function until(step: string, condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => wake = resolve);
  process.stdout.write(`${step}\n`);
}

const nodes = ["tcp://192.0.2.1:1", "tcp://192.0.2.2:2"].map((address) => {
  const parts = partsOf(runtime);
  const sink = new Sink();
  const { lines } = parts.logger;
  const push = lines.push.bind(lines);
  lines.push = (...items) => {
    wake();
    return push(...items);
  };
  const discovery = new LanDiscovery({ ...parts, address, cluster: () => "c" }, {
    group,
    port: 17_946,
    interface: group.includes(":") ? "::%lan0" : undefined,
    intervalMs: 100,
    lifetimeMs: 500,
    backoff: { firstMs: 50, mostMs: 200 },
  });
  return { address, discovery, sink, logger: parts.logger };
});

function ip(...lines: string[]): void {
  for (const line of lines) {
    const { status, stderr } = spawnSync("ip", line.split(" "), { encoding: "utf8" });
    if (status !== 0) throw new Error(`ip ${line}: ${stderr}`);
  }
}

function plugIn(): void {
  ip("link add lan0 type veth peer name lan1", "link set lan1 up", "link set lan0 up");
  if (!group.includes(":")) {
    ip("address add 10.79.0.1/24 dev lan0", "route add 239.0.0.0/8 dev lan0");
  }
}

const haveEachOther = (): boolean =>
  nodes.every(({ sink, address }) => {
    const others = nodes.filter((other) => other.address !== address);
    return sink.last.join() === others.map((other) => other.address).join();
  });
const logged = (levels: string) => (): boolean =>
  nodes.every(({ logger }) => logger.levels === levels);

for (const { discovery, sink } of nodes) {
  discovery.start((candidates) => {
    sink.take(candidates);
    wake();
  });
}
await until("no interface", logged("warning"));
plugIn();
await until("found", haveEachOther);
await until("said so", logged("warning info"));
ip("link del lan0");
await until("lost", () => nodes.every(({ sink }) => sink.last.length === 0));
await until("said so", logged("warning info warning"));
plugIn();
await until("found", haveEachOther);
await until("said so", logged("warning info warning info"));
for (const { discovery } of nodes) discovery.stop();
