/** `covey agent`: a node in the foreground. */
import { checkMaterial } from "../config/files.ts";
import { checkSocketPaths } from "../config/socket_paths.ts";
import { loadConfig, type LoadedConfig } from "../config/load.ts";
import { type Host, NetError } from "../runtime/port.ts";
import { startLoaded } from "../start.ts";
import { version } from "../version.ts";
import { type ConfigFlags, loadRequest } from "./config_flags.ts";
import type { CliContext } from "./context.ts";
import { programToType } from "./program.ts";

/** The flags of `covey agent`. */
export interface AgentFlags extends ConfigFlags {
  readonly json?: boolean;
  /** For whoever starts agents that must not outlive it: see {@link AgentOptions}. */
  readonly "while-input-lasts"?: boolean;
}

/** What the agent is told beside its configuration. */
export interface AgentOptions {
  /** Print one line with `"event":"ready"` and every bound address once it serves. */
  readonly json: boolean;
  /**
   * End, as at SIGTERM, when standard input ends. It is a pipe from whoever started the agent, which
   * the kernel closes when that process ends, however it ends.
   */
  readonly whileInputLasts?: boolean;
  /** For trying out: memory only, loopback only, anonymous peers may do everything. */
  readonly dev: boolean;
}

/** The command: load the configuration, run the node. */
export async function agent(this: CliContext, flags: AgentFlags): Promise<void> {
  const loaded = await loadConfig(this.runtime, loadRequest(flags));
  checkSocketPaths(this.runtime.host, loaded);
  await checkMaterial(this.runtime, loaded);
  await runAgent(this, loaded, {
    json: flags.json === true,
    dev: flags.dev === true,
    whileInputLasts: flags["while-input-lasts"] === true,
  });
}

/** Runs a node until SIGTERM, SIGINT or SIGHUP; resolves when it has drained. */
export async function runAgent(
  context: CliContext,
  loaded: LoadedConfig,
  options: AgentOptions,
): Promise<void> {
  const { runtime } = context;
  // Signals are taken from the first moment: one that comes during the start is not lost.
  let stop = (): void => {};
  const stopped = new Promise<void>((resolve) => stop = resolve);
  const subscriptions = [
    runtime.host.onSignal("SIGTERM", stop),
    runtime.host.onSignal("SIGINT", stop),
    // There is nothing that could be read again while the node runs, and the default is no drain.
    runtime.host.onSignal("SIGHUP", stop),
  ];
  if (options.whileInputLasts) void inputEnd(runtime.host).then(stop);
  // Stopped in any case: when whoever was to read the ready line is gone, for instance.
  await using node = await startLoaded(runtime, loaded, { dev: options.dev });
  const { name, nodeId, listeners } = node;
  const ready = { event: "ready", name, nodeId, pid: runtime.host.pid, listeners };
  if (options.json) await context.printJson(ready);
  else {
    const trial = options.dev ? programToType(runtime.host.executable) : undefined;
    await context.print(describeReady(name, listeners, trial, loaded.config.kv.enabled));
  }
  await stopped;
  // A second signal is the operator's impatience: the default action ends the process.
  for (const subscription of subscriptions) subscription.cancel();
  await node.stop();
}

/** Resolves when standard input has ended, or cannot be read any more. */
async function inputEnd(host: Host): Promise<void> {
  try {
    for await (const chunk of host.stdin()) void chunk;
  } catch (error) {
    // A broken pipe is an end, too.
    if (!(error instanceof NetError)) throw error;
  }
}

/** `trial` is what to type for covey, where there is to be something to try. */
function describeReady(
  name: string,
  listeners: Readonly<Record<string, string>>,
  trial: string | undefined,
  hasStore: boolean,
): string {
  const { mesh, admin, local, ...others } = listeners;
  const lines = [`covey ${version} node ${name} is ready`];
  if (mesh !== undefined) lines.push(`  rpc    ${mesh}`);
  for (const other of Object.values(others)) lines.push(`         ${other}`);
  if (local !== undefined) lines.push(`  local  ${local}`);
  if (admin !== undefined) lines.push(`  admin  ${admin}`);
  if (trial !== undefined && mesh !== undefined) {
    lines.push("try, in another terminal:");
    if (hasStore) {
      lines.push(
        `  ${trial} kv put greeting hello --node ${mesh}`,
        `  ${trial} kv get greeting --node ${mesh}`,
      );
    }
    lines.push(`  ${trial} call ${mesh} covey.node.v1.Node/Info '{}'`);
    if (admin !== undefined) {
      lines.push(
        `  curl ${admin}/v1/status`,
        `  curl -H 'content-type: application/json' -d '{}' ${admin}/covey.node.v1.Node/Info`,
      );
    }
  }
  return lines.join("\n");
}
