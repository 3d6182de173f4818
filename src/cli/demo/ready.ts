/** What the demo says once it serves: for people what to try, for programs where everything is. */
import type { Host } from "../../runtime/port.ts";
import { programToType, shellWord } from "../program.ts";
import { formatTable } from "../table.ts";
import type { DemoNode } from "./demo_node.ts";
import type { Leadership } from "./leader.ts";

export function readyObject(
  folder: string,
  nodes: readonly DemoNode[],
  { leader, term }: Leadership,
): Record<string, unknown> {
  return {
    event: "ready",
    folder,
    leader: leader ?? null,
    term,
    nodes: nodes.map(({ name, ready }) => ({
      name,
      nodeId: ready?.nodeId,
      pid: ready?.pid,
      listeners: ready?.listeners,
    })),
  };
}

export function readyText(
  host: Host,
  folder: string,
  nodes: readonly DemoNode[],
  { leader }: Leadership,
): string {
  const rows = nodes.map(({ name, ready }) => [
    `  ${name}`,
    `pid ${ready?.pid}`,
    ready?.listeners.mesh ?? "",
    ready?.listeners.admin ?? "",
  ]);
  const covey = programToType(host.executable);
  const addresses = nodes.map(({ options }) => options.mesh).join(",");
  const pid = nodes.find(({ name }) => name === leader)?.ready?.pid;
  return [
    `a cluster of ${nodes.length}; its data is in ${folder} and goes with it`,
    formatTable(rows),
    "try, in another terminal:",
    `  export COVEY_NODE=${shellWord(addresses)}`,
    `  ${covey} kv put greeting hello`,
    `  ${covey} kv get greeting`,
    `  ${covey} status`,
    `  ${covey} members --watch    who takes part, view by view`,
    `  kill -9 ${pid}    the leader: another takes over, nothing is lost, and it is taken back`,
    "Ctrl-C ends it all",
  ].join("\n");
}
