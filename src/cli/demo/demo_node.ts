/** One node of the demo: a child process, started again when it is killed. */
import { Channel } from "../../ttrpc/channel.ts";
import { Code, CoveyError } from "../../base/error.ts";
import { parseAddress } from "../../base/address.ts";
import type { Child, ChildExit, Runtime } from "../../runtime/port.ts";
import { ownProgram, plainEnvironment } from "../program.ts";
import type { LogFile } from "./log_file.ts";

/** Where a node keeps its data and is reached; the same at every start. */
export interface DemoNodeOptions {
  readonly name: string;
  readonly data: string;
  readonly mesh: string;
  readonly admin: string;
  /** Mesh addresses of all founders. */
  readonly founders: readonly string[];
}

/** What `agent --json` says once it serves. */
export interface ReadyLine {
  readonly nodeId: string;
  readonly pid: number;
  readonly listeners: Readonly<Record<string, string>>;
}

/** Autopilot's wanted number of voters, by default. */
export const votersMax = 3;
/** Longer than the line that an agent prints. */
const lineCharactersMax = 64 << 10;

export class DemoNode {
  readonly options: DemoNodeOptions;
  readonly #runtime: Runtime;
  readonly #log: LogFile;
  #spawned: Promise<Child> | undefined = undefined;
  /** The process while it runs. */
  #child: Child | undefined = undefined;
  #exit: Promise<ChildExit> = new Promise(() => {});
  #channel: Channel | undefined = undefined;
  #ready: ReadyLine | undefined = undefined;
  #isStopped = false;

  constructor(runtime: Runtime, options: DemoNodeOptions, log: LogFile) {
    this.#runtime = runtime;
    this.options = options;
    this.#log = log;
  }

  get name(): string {
    return this.options.name;
  }

  /** What it said when it began to serve; undefined while it does not. */
  get ready(): ReadyLine | undefined {
    return this.#ready;
  }

  /** To the socket in its data folder; undefined while it is not up. */
  get channel(): Channel | undefined {
    return this.#channel;
  }

  /** Resolves when the process that was started last has ended. */
  get exit(): Promise<ChildExit> {
    return this.#exit;
  }

  /** Resolves once it serves; rejects when it ends before that, with what it said. */
  async start(): Promise<void> {
    if (this.#isStopped) return;
    const first = new FirstLine();
    this.#spawned = this.#spawn(first);
    const child = this.#child = await this.#spawned;
    this.#exit = child.exit.then((exit) => {
      this.#ended();
      return exit;
    });
    const outcome = await Promise.race([first.text, this.#exit]);
    if (typeof outcome !== "string") {
      if (this.#isStopped) return;
      throw new CoveyError(
        Code.unavailable,
        `${this.name} did not start (${describeExit(outcome)}): ${this.#log.tail.trim()}`,
      );
    }
    // One that was killed in between is started again by whoever waits for its end.
    if (this.#child === undefined) return;
    const ready: ReadyLine = JSON.parse(outcome);
    const { net, clock, random } = this.#runtime;
    const address = parseAddress(ready.listeners.local);
    this.#channel = new Channel({ net, clock, random, address, peer: "covey" });
    this.#ready = ready;
  }

  /** Ends it at once and for good: its data is about to go, so that nothing needs to be in order. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    try {
      const child = await this.#process();
      child?.kill("SIGKILL");
      await child?.exit;
    } finally {
      await this.#log.close();
    }
  }

  /** The process that was started last; undefined when there is none, or none could be started. */
  async #process(): Promise<Child | undefined> {
    try {
      return await this.#spawned;
    } catch {
      // Whoever started it has been told.
      return undefined;
    }
  }

  #ended(): void {
    this.#channel?.close();
    this.#channel = undefined;
    this.#ready = undefined;
    this.#child = undefined;
  }

  #spawn(first: FirstLine): Promise<Child> {
    const { host } = this.#runtime;
    const { command, args } = ownProgram(this.#runtime);
    return host.spawn({
      command,
      args: [...args, ...this.#agentArgs()],
      environment: plainEnvironment(host),
      // The pipe closes when this process ends, however it ends, and the agent with it.
      stdin: true,
      stdout: (chunk) => first.add(chunk),
      stderr: (chunk) => this.#log.append(chunk),
    });
  }

  #agentArgs(): string[] {
    const { name, data, mesh, admin, founders } = this.options;
    const join = founders.length === 1 ? [] : ["--set", `cluster.join=${founders.join(",")}`];
    return [
      ...["agent", "--json", "--while-input-lasts", "--node-name", name, "--data", data],
      ...["--listen", mesh, "--admin-listen", admin],
      ...["--set", `cluster.expect=${founders.length}`, ...join],
      // Nothing but this machine reaches loopback; the nodes let each other in.
      ...["--set", "tls.mode=off"],
      // More nodes than are to vote: the others wait to take the place of one that is killed.
      ...(founders.length > votersMax
        ? ["--set", "autopilot.mode=on", "--set", "autopilot.replace_after=5s"]
        : []),
    ];
  }
}

/** The first line of what comes in pieces. */
class FirstLine {
  readonly text: Promise<string>;
  readonly #decoder = new TextDecoder();
  #shown = "";
  #tell: (line: string) => void = () => {};

  constructor() {
    this.text = new Promise((resolve) => this.#tell = resolve);
  }

  add(chunk: Uint8Array): void {
    if (this.#shown.includes("\n") || this.#shown.length > lineCharactersMax) return;
    this.#shown += this.#decoder.decode(chunk, { stream: true });
    const end = this.#shown.indexOf("\n");
    if (end >= 0) this.#tell(this.#shown.slice(0, end));
  }
}

/** "ended by SIGKILL", "exit code 1" */
export function describeExit({ code, signal }: ChildExit): string {
  return signal === null ? `exit code ${code}` : `ended by ${signal}`;
}
