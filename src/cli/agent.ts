/** `covey agent`: a node in the foreground. */
import { checkFiles } from "../config/files.ts";
import { loadConfig, type LoadedConfig } from "../config/load.ts";
import { startLoaded } from "../start.ts";
import { version } from "../version.ts";
import { type ConfigFlags, loadRequest } from "./config_flags.ts";
import type { CliContext } from "./context.ts";

/** The flags of `covey agent`. */
export interface AgentFlags extends ConfigFlags {
  readonly json?: boolean;
}

/** What the agent is told beside its configuration. */
export interface AgentOptions {
  /** Print one line with `"event":"ready"` and every bound address once it serves. */
  readonly json: boolean;
  /** For trying out: memory only, loopback only, anonymous peers may do everything. */
  readonly dev: boolean;
}

/** The command: load the configuration, run the node. */
export async function agent(this: CliContext, flags: AgentFlags): Promise<void> {
  const loaded = await loadConfig(this.runtime, loadRequest(flags));
  await checkFiles(this.runtime.disk, loaded);
  await runAgent(this, loaded, {
    json: flags.json === true,
    dev: flags.dev === true,
  });
}

/** Runs a node until SIGTERM or SIGINT; resolves when it has drained. */
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
  ];
  // Stopped in any case: when whoever was to read the ready line is gone, for instance.
  await using node = await startLoaded(runtime, loaded, { dev: options.dev });
  const { name, nodeId, listeners } = node;
  const ready = { event: "ready", name, nodeId, pid: runtime.host.pid, listeners };
  if (options.json) await context.printJson(ready);
  else {
    const trial = options.dev ? programToType(runtime.host.executable) : undefined;
    await context.print(describeReady(name, listeners, trial));
  }
  await stopped;
  // A second signal is the operator's impatience: the default action ends the process.
  for (const subscription of subscriptions) subscription.cancel();
  await node.stop();
}

/**
 * What to type in a shell for this program: the binary's whole path, since the PATH of somebody
 * who tries it out rarely has it; "covey" where Bun or Deno runs the source.
 */
export function programToType(executable: string): string {
  const name = executable.slice(executable.lastIndexOf("/") + 1);
  if (!name.startsWith("covey")) return "covey";
  const isPlain = /^[\w./:@%+=,-]+$/.test(executable);
  return isPlain ? executable : `'${executable.replaceAll("'", "'\\''")}'`;
}

/** `trial` is what to type for covey, where there is to be something to try. */
function describeReady(
  name: string,
  listeners: Readonly<Record<string, string>>,
  trial: string | undefined,
): string {
  const { mesh, admin, local, ...others } = listeners;
  const lines = [`covey ${version} node ${name} is ready`];
  if (mesh !== undefined) lines.push(`  rpc    ${mesh}`);
  for (const other of Object.values(others)) lines.push(`         ${other}`);
  if (local !== undefined) lines.push(`  local  ${local}`);
  if (admin !== undefined) lines.push(`  admin  ${admin}`);
  if (trial !== undefined && mesh !== undefined) {
    lines.push("try, in another terminal:", `  ${trial} call ${mesh} covey.node.v1.Node/Info '{}'`);
    if (admin !== undefined) {
      lines.push(
        `  curl ${admin}/v1/status`,
        `  curl -H 'content-type: application/json' -d '{}' ${admin}/covey.node.v1.Node/Info`,
      );
    }
  }
  return lines.join("\n");
}
