/**
 * `covey demo`: a real cluster of child processes on this machine, to be tried out and to be
 * killed. Each child has a pipe from this process as its standard input and ends when that closes:
 * the kernel closes it when this process ends, however it ends, so that no child outlives it.
 */
import { Code, CoveyError } from "../../base/error.ts";
import type { ChildExit, Runtime } from "../../runtime/port.ts";
import type { CliContext } from "../context.ts";
import { Interrupt } from "../interrupt.ts";
import { DemoNode, describeExit, votersMax } from "./demo_node.ts";
import { makeDemoFolder } from "./folder.ts";
import { askLeader, type Leadership } from "./leader.ts";
import { LogFile } from "./log_file.ts";
import { findPorts } from "./ports.ts";
import { Screen } from "./screen.ts";
import { readyObject, readyText } from "./ready.ts";

/** The flags of `covey demo`. */
export interface DemoFlags {
  readonly nodes?: number;
  readonly json?: boolean;
}

const nodesDefault = 3;
/** Long enough to see that the others go on without it. */
const restartMs = 3_000;
/** With nodes that wait to take its place: long enough to see that one does. */
const replacedMs = 30_000;
const pollMs = 200;
const electionMs = 30_000;

/** Runs until SIGINT, SIGTERM or SIGHUP, then ends all children and removes their data. */
export async function demo(this: CliContext, flags: DemoFlags): Promise<void> {
  using interrupt = new Interrupt(this.runtime.host, {
    names: ["SIGINT", "SIGTERM", "SIGHUP"],
    // The data is taken away however impatient somebody is; it takes no time.
    again: () => {},
  });
  const cluster = new Demo(this, flags, interrupt);
  try {
    await cluster.run();
  } finally {
    await cluster.stop();
  }
}

class Demo {
  readonly #runtime: Runtime;
  readonly #interrupt: Interrupt;
  readonly #screen: Screen;
  readonly #count: number;
  readonly #nodes: DemoNode[] = [];
  #folder: string | undefined = undefined;
  #leadership: Leadership = { leader: undefined, term: 0, answered: 0 };
  /** The first failure of what goes on beside `run`; it ends the demo. */
  #failure: unknown = undefined;
  #isStopping = false;
  /** Ends the waits that are under way. */
  readonly #wakes: Set<() => void> = new Set();

  constructor(context: CliContext, flags: DemoFlags, interrupt: Interrupt) {
    this.#runtime = context.runtime;
    this.#interrupt = interrupt;
    this.#screen = new Screen(context, flags.json === true);
    this.#count = flags.nodes ?? nodesDefault;
    interrupt.signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  get #restartMs(): number {
    return this.#count > votersMax ? replacedMs : restartMs;
  }

  async run(): Promise<void> {
    const folder = this.#folder = await makeDemoFolder(this.#runtime, this.#count);
    await this.#makeNodes(folder);
    await this.#screen.status(
      this.#count === 1 ? "starting a node" : `starting ${this.#count} nodes`,
    );
    await Promise.all(this.#nodes.map((node) => this.#start(node)));
    await this.#electFirst();
    if (this.#isOn) {
      await this.#screen.say(readyText(this.#runtime.host, folder, this.#nodes, this.#leadership));
      await this.#screen.event(readyObject(folder, this.#nodes, this.#leadership));
    }
    while (this.#isOn) {
      await this.#screen.status(this.#statusLine());
      await this.#wait(pollMs);
      await this.#follow();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends the children and takes their data away, whatever happened before. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const stopped = Promise.all(this.#nodes.map((node) => node.stop()));
    try {
      await this.#screen.end();
    } finally {
      await stopped;
      if (this.#folder !== undefined) await this.#runtime.disk.removeTree(this.#folder);
    }
  }

  get #isOn(): boolean {
    return !this.#isStopping && !this.#interrupt.signal.aborted && this.#failure === undefined;
  }

  async #makeNodes(folder: string): Promise<void> {
    const { disk, net, random } = this.#runtime;
    const ports = await findPorts(net, random, 2 * this.#count);
    const addresses = ports.map((port) => `tcp://127.0.0.1:${port}`);
    const founders = addresses.slice(0, this.#count);
    for (const [index, mesh] of founders.entries()) {
      const name = `node-${index + 1}`;
      const data = `${folder}/${name}`;
      const log = await LogFile.open(disk, `${data}.log`);
      const admin = addresses[this.#count + index];
      this.#nodes.push(new DemoNode(this.#runtime, { name, data, mesh, admin, founders }, log));
    }
  }

  /** Starts a node, and again whenever it ends. */
  async #start(node: DemoNode): Promise<void> {
    await node.start();
    void node.exit.then((exit) => this.#lost(node, exit)).catch((error) => {
      this.#failure ??= error;
      this.#wake();
    });
  }

  async #lost(node: DemoNode, exit: ChildExit): Promise<void> {
    // Ctrl-C on a terminal reaches the children, too.
    if (!this.#isOn) return;
    const { name } = node;
    await this.#screen.event({ event: "down", name, ...exit });
    const { leader, term, answered } = this.#leadership;
    this.#leadership = {
      leader: leader === name ? undefined : leader,
      term,
      answered: Math.max(0, answered - 1),
    };
    await this.#screen.say(
      `${name} is gone (${describeExit(exit)}); it starts again in ${this.#restartMs / 1000} s`,
      this.#statusLine(),
    );
    await this.#wait(this.#restartMs);
    if (!this.#isOn) return;
    await this.#start(node);
    if (node.ready === undefined) return;
    const { pid } = node.ready;
    await this.#screen.event({ event: "up", name, pid });
    await this.#screen.say(`${name} is back, pid ${pid}`);
  }

  async #electFirst(): Promise<void> {
    const { clock } = this.#runtime;
    const endMs = clock.monotonicMs() + electionMs;
    while (this.#isOn) {
      this.#leadership = await askLeader(this.#nodes);
      if (this.#leadership.leader !== undefined) return;
      if (clock.monotonicMs() > endMs) {
        throw new CoveyError(
          Code.unavailable,
          `the nodes are up, but elected no leader within ${electionMs / 1000} s`,
        );
      }
      await this.#wait(pollMs);
    }
  }

  async #follow(): Promise<void> {
    if (!this.#isOn) return;
    const before = this.#leadership;
    const now = this.#leadership = await askLeader(this.#nodes);
    if (now.leader === before.leader && now.term === before.term) return;
    await this.#screen.event({ event: "leader", leader: now.leader ?? null, term: now.term });
  }

  #statusLine(): string {
    const { leader, term, answered } = this.#leadership;
    const pid = this.#nodes.find(({ name }) => name === leader)?.ready?.pid;
    return `${answered} of ${this.#count} nodes up, ` +
      (leader === undefined ? "no leader" : `${leader} (pid ${pid}) leads in term ${term}`);
  }

  /** Shorter when the demo is to end. */
  #wait(milliseconds: number): Promise<void> {
    if (!this.#isOn) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        this.#wakes.delete(wake);
        resolve();
      };
      const timer = this.#runtime.clock.timer(milliseconds, wake, undefined);
      this.#wakes.add(wake);
    });
  }

  #wake(): void {
    for (const wake of [...this.#wakes]) wake();
  }
}
