/** Runs one command line to its exit code. */
import { type RouteMap, run } from "npm:@stricli/core@1.3.0";
import type { Runtime } from "../runtime/port.ts";
import { buildCli } from "./app.ts";
import { type CliContext, openContext } from "./context.ts";
import { describeError, ExitCode, exitCodeOf } from "./exit.ts";

/** Everything goes through the runtime's host; the caller ends the process with the result. */
export async function runCli(runtime: Runtime, args: readonly string[]): Promise<number> {
  const { context, flush } = openContext(runtime, args);
  const { process } = context;
  const cli = buildCli();
  await run(cli, args, context);
  try {
    await flush();
  } catch (error) {
    const message = describeError(error);
    if (message !== "") runtime.host.stderr(`${message}\n`);
    return exitCodeOf(error);
  }
  const code = Number(process.exitCode ?? ExitCode.ok);
  if (code >= 0) return code;
  // Stricli's own failures are negative: -4 and -5 are bad arguments and unknown commands.
  if (code !== -4 && code !== -5) return ExitCode.failed;
  context.note(`run "covey${routeOf(cli.root, args)} --help" for what is allowed`);
  return ExitCode.usage;
}

/** The words of a command that exist, so that the hint is one that works. */
function routeOf(root: unknown, args: readonly string[]): string {
  let at = root;
  let route = "";
  for (const word of args) {
    at = (at as Partial<RouteMap<CliContext>>).getRoutingTargetForInput?.(word);
    if (at === undefined) break;
    route += ` ${word}`;
  }
  return route;
}
