/** What every command gets as `this`. */
import type { StricliProcess } from "npm:@stricli/core@1.3.0";
import { NetError, type Runtime } from "../runtime/port.ts";
import { OutputClosed } from "./exit.ts";

/** The command line around one command. */
export interface CliContext {
  /** Stricli's view of the process: where help and usage errors go. */
  readonly process: StricliProcess;
  readonly runtime: Runtime;
  /** As they were typed, the name of the command among them. */
  readonly args: readonly string[];
  /** Writes data to standard output; a newline is added when the text does not end in one. */
  print(text: string): Promise<void>;
  /** Writes data to standard output as it is. */
  write(data: string | Uint8Array): Promise<void>;
  /** Writes one object as one line of JSON to standard output. */
  printJson(value: unknown): Promise<void>;
  /** Writes one line for people to standard error. */
  note(text: string): void;
  /** Ends the command with this exit code although it throws nothing. */
  exitWith(code: number): void;
}

/** A context, and a way to write out what Stricli printed in the meantime. */
export interface OpenContext {
  readonly context: CliContext;
  /** Stricli writes synchronously; its text is kept until here. */
  flush(): Promise<void>;
}

/** Makes the context of one run. */
export function openContext(runtime: Runtime, args: readonly string[]): OpenContext {
  const { host } = runtime;
  let pending = "";
  const write = async (data: string | Uint8Array): Promise<void> => {
    try {
      await host.stdout(data);
    } catch (error) {
      if (error instanceof NetError && error.kind === "reset") throw new OutputClosed();
      throw error;
    }
  };
  const process: StricliProcess = {
    stdout: { write: (text) => void (pending += text) },
    stderr: {
      write(text) {
        // An error that is to be silent still comes with Stricli's newline.
        if (text.trim() !== "") host.stderr(text);
      },
    },
  };
  const context: CliContext = {
    process,
    runtime,
    args,
    write,
    print: (text) => write(text.endsWith("\n") ? text : `${text}\n`),
    printJson: (value) => write(`${JSON.stringify(value)}\n`),
    note: (text) => host.stderr(`covey: ${text}\n`),
    exitWith: (code) => void (process.exitCode = code),
  };
  const flush = async (): Promise<void> => {
    const text = pending;
    pending = "";
    if (text !== "") await write(text);
  };
  return { context, flush };
}
