/** A question to whoever sits at the terminal. Nothing is ever asked without one. */
import type { CliContext } from "./context.ts";

/** Longer answers are none. */
const lineCharactersMax = 1000;

/** Prints the question on standard error and reads one line; the end of the input is an empty one. */
export async function askLine(
  { runtime: { host } }: CliContext,
  question: string,
): Promise<string> {
  host.stderr(question);
  const decoder = new TextDecoder();
  let typed = "";
  for await (const chunk of host.stdin()) {
    typed += decoder.decode(chunk, { stream: true });
    const end = typed.indexOf("\n");
    if (end >= 0) return typed.slice(0, end).trim();
    if (typed.length > lineCharactersMax) break;
  }
  return "";
}
