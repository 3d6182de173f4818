/** This program: how to start it again, and what to type for it. */
import type { Host, Runtime } from "../runtime/port.ts";

/** A command line without the arguments that make it a command of covey's. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
}

/** The folder in which the compiled binary's own modules appear. */
const compiledFolder = "/$bunfs/";

/** How this very program is started again: the binary, or the engine with the entry's source. */
export function ownProgram({ name, host }: Pick<Runtime, "name" | "host">): Program {
  const entry = new URL("../main.ts", import.meta.url).pathname;
  const command = host.executable;
  if (entry.startsWith(compiledFolder)) return { command, args: [] };
  const path = decodeURIComponent(entry);
  return { command, args: name === "deno" ? ["run", "--allow-all", path] : [path] };
}

/** This process's environment without what configures covey: a child is told all it needs. */
export function plainEnvironment(host: Host): Record<string, string> {
  const names = host.environmentNames("").filter((name) => !name.startsWith("COVEY_"));
  return Object.fromEntries(names.map((name) => [name, host.environment(name) ?? ""]));
}

/**
 * What to type in a shell for this program: the binary's whole path, since the PATH of somebody
 * who tries it out rarely has it; "covey" where Bun or Deno runs the source.
 */
export function programToType(executable: string): string {
  const name = executable.slice(executable.lastIndexOf("/") + 1);
  return name.startsWith("covey") ? shellWord(executable) : "covey";
}

/** A text as one word of a shell. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
