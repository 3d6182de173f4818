/**
 * Nodes in network namespaces of their own, each pair of them joined by one veth pair, so that each
 * direction between two nodes can be cut by itself: a permanent neighbour entry with a wrong address
 * sends every packet to nobody. Sender and receiver notice nothing but silence, which is what a
 * cable, a switch or a routing mistake does to them.
 *
 * Everything is in a user namespace, so that no right is needed where the system lets users make
 * them, and below one process, with which all of it goes.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";

const probeMs = 10_000;
const scriptMs = 10_000;
/** In a network that nobody else sees; one host for each node. */
const prefix = "10.77.0";
const nobody = "02:00:00:00:ff:ff";

/** Why there can be no such network here; undefined when there can. */
export function netnsMissing(): string | undefined {
  const script = "ip link add cva type veth peer name cvb && ip link set lo up";
  const probe = spawnSync("unshare", [...unshareFlags, "sh", "-ec", script], {
    encoding: "utf8",
    timeout: probeMs,
  });
  if (probe.status === 0) return undefined;
  const why = probe.error?.message ?? probe.stderr.trim();
  return `network namespaces cannot be made here: ${why === "" ? `status ${probe.status}` : why}`;
}

/** A user namespace in which this user is root, and a network in it; it ends with its process. */
const unshareFlags = ["--user", "--map-root-user", "--net", "--fork", "--kill-child"];

export class NamespaceNetwork {
  readonly nodes: number;
  readonly #shell: ChildProcess;
  readonly #pids: number[] = [];
  #output = "";
  #heard: () => void = () => {};
  #scripts = 0;

  private constructor(nodes: number, shell: ChildProcess) {
    this.nodes = nodes;
    this.#shell = shell;
    for (const stream of [shell.stdout!, shell.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#output += text;
        this.#heard();
      });
    }
    shell.once("close", () => this.#heard());
  }

  static async open(nodes: number): Promise<NamespaceNetwork> {
    // The shell reads what to do from us: when we are gone it ends, and with it the namespaces.
    const shell = spawn("unshare", [...unshareFlags, "sh"], { stdio: ["pipe", "pipe", "pipe"] });
    const network = new NamespaceNetwork(nodes, shell);
    try {
      await network.#build();
    } catch (error) {
      network.close();
      throw error;
    }
    return network;
  }

  /** The address of a node's host. */
  host(index: number): string {
    return `${prefix}.${index + 1}`;
  }

  /** The same command, run where the node lives. Its process id stays its own. */
  wrap(command: readonly string[], index: number): readonly string[] {
    return [...this.#enter(index), ...command];
  }

  /** Nothing that `from` sends reaches `to`; what `to` sends still arrives. */
  cut(from: number, to: number): Promise<void> {
    return this.#neighbour([[from, to, nobody]]);
  }

  /** Nothing reaches anybody between these two groups. */
  part(these: readonly number[], others: readonly number[]): Promise<void> {
    const both = these.flatMap((a) => others.flatMap((b) => [[a, b], [b, a]]));
    return this.#neighbour(both.map(([from, to]) => [from, to, nobody] as const));
  }

  /** Every node reaches every other one again. */
  heal(): Promise<void> {
    return this.#neighbour(
      this.#pairs().map(([from, to]) => [from, to, hardware(to, from)] as const),
    );
  }

  /** Ends the namespaces; what runs in them loses its network and is the caller's to end. */
  close(): void {
    this.#shell.stdin!.end();
    this.#shell.kill("SIGKILL");
  }

  // -------------------------------------------------------------------------------------------

  async #build(): Promise<void> {
    for (let index = 0; index < this.nodes; index++) {
      // Each namespace is held by a process that waits for this shell's end.
      const holder = "unshare --net tail --pid=$$ -f /dev/null >/dev/null 2>&1 & echo $!";
      const pid = (await this.#run(holder)).trim();
      this.#pids.push(Number(pid));
      // The process is there before its namespace is.
      const own = "$(readlink /proc/$$/ns/net)";
      await this.#run(`while [ "$(readlink /proc/${pid}/ns/net)" = "${own}" ]; do :; done`);
      await this.#run(`${this.#inside(index)} ip link set lo up`);
      await this.#run(`${this.#inside(index)} ip address add ${this.host(index)}/32 dev lo`);
    }
    for (const [from, to] of this.#pairs()) {
      if (from > to) continue;
      const [one, other] = [device(from, to), device(to, from)];
      await this.#run(
        `ip link add ${one} address ${hardware(from, to)} netns ${this.#pids[from]} type veth ` +
          `peer name ${other} address ${hardware(to, from)} netns ${this.#pids[to]}`,
      );
    }
    for (const [from, to] of this.#pairs()) {
      const [inside, name] = [this.#inside(from), device(from, to)];
      await this.#run(`${inside} ip link set ${name} up`);
      await this.#run(
        `${inside} ip route add ${this.host(to)}/32 dev ${name} src ${this.host(from)}`,
      );
    }
    await this.heal();
  }

  #pairs(): [from: number, to: number][] {
    const indexes = Array.from({ length: this.nodes }, (_, index) => index);
    return indexes.flatMap((from) =>
      indexes.filter((to) => to !== from).map((to): [number, number] => [from, to])
    );
  }

  async #neighbour(entries: readonly (readonly [number, number, string])[]): Promise<void> {
    // In one go: a partition is there at once or not at all, as far as a shell can be quick.
    await this.#run(
      entries.map(([from, to, address]) =>
        `${this.#inside(from)} ip neigh replace ${this.host(to)} lladdr ${address} ` +
        `nud permanent dev ${device(from, to)}`
      ).join(" && "),
    );
  }

  /** For commands of the shell, which is in the user namespace already. */
  #inside(index: number): string {
    return `nsenter --net --target ${this.#pids[index]}`;
  }

  #enter(index: number): readonly string[] {
    return [
      ...["nsenter", "--user", "--net", "--preserve-credentials"],
      ...["--target", `${this.#pids[index]}`, "--"],
    ];
  }

  /** Runs a line in the shell and gives what it printed; rejects when it fails. */
  async #run(script: string): Promise<string> {
    const mark = `done-${++this.#scripts}:`;
    this.#output = "";
    const ended = new RegExp(`${mark}(\\d+)\n`);
    const finished = new Promise<string>((resolve, reject) => {
      const fail = (why: string): void =>
        reject(new Error(`${script}: ${why}: ${this.#output.trim()}`));
      const limit = setTimeout(() => fail(`not within ${scriptMs} ms`), scriptMs);
      this.#heard = () => {
        const match = ended.exec(this.#output);
        if (match === null && this.#shell.exitCode === null && this.#shell.signalCode === null) {
          return;
        }
        clearTimeout(limit);
        this.#heard = () => {};
        if (match === null) fail("the shell has ended");
        else if (match[1] !== "0") fail(`status ${match[1]}`);
        else resolve(this.#output.slice(0, match.index));
      };
    });
    this.#shell.stdin!.write(`${script}\necho ${mark}$? >&1\n`);
    return await finished;
  }
}

function device(from: number, to: number): string {
  return `to${to}from${from}`;
}

/** Of the end of a pair at `from`. */
function hardware(from: number, to: number): string {
  const hex = (value: number): string => value.toString(16).padStart(2, "0");
  return `02:00:00:00:${hex(from)}:${hex(to)}`;
}
