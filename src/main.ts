/**
 * The command line's entry, for `bun src/main.ts`, `deno run src/main.ts` and the compiled binary.
 * It has no top-level await: `bun build --compile --bytecode` cannot take one.
 */
import process from "node:process";
import { runCli } from "./cli/run.ts";
import { describeCrash } from "./cli/exit.ts";
import { selectRuntime } from "./start.ts";

/** A crash is one line and exit code 1, whatever the engine would have printed. */
function crash(error: unknown): never {
  console.error(`covey: ${describeCrash(error)}`);
  process.exit(1);
}

async function main(): Promise<void> {
  const runtime = await selectRuntime();
  const { host } = runtime;
  host.exit(await runCli(runtime, host.args));
}

process.on("uncaughtException", crash);
process.on("unhandledRejection", crash);
main().catch(crash);
