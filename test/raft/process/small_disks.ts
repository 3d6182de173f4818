/**
 * Small disks, each a file system in memory that only the nodes and this test see: they are in a
 * mount namespace of their own, which ends with one process.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./waiting.ts";

const flags = ["--user", "--map-root-user", "--mount", "--fork", "--kill-child"];
const probeMs = 10_000;

/** Why there can be no such disks here; undefined when there can. */
export function smallDisksMissing(): string | undefined {
  const script = "mount -t tmpfs -o size=1m tmpfs /mnt";
  const probe = spawnSync("unshare", [...flags, "sh", "-ec", script], {
    encoding: "utf8",
    timeout: probeMs,
  });
  if (probe.status === 0) return undefined;
  const why = probe.error?.message ?? probe.stderr.trim();
  return `small file systems cannot be mounted here: ${why}`;
}

export class SmallDisks {
  readonly #folder: string;
  readonly #holder: ChildProcess;
  readonly #pid: number;
  readonly #count: number;

  private constructor(folder: string, holder: ChildProcess, pid: number, count: number) {
    this.#folder = folder;
    this.#holder = holder;
    this.#pid = pid;
    this.#count = count;
  }

  static async mount(count: number, bytes: number): Promise<SmallDisks> {
    const folder = mkdtempSync(join(tmpdir(), "covey-disks-"));
    const paths = Array.from({ length: count }, (_, index) => join(folder, `${index}`));
    for (const path of paths) mkdirSync(path);
    const mounts = paths.map((path) => `mount -t tmpfs -o size=${bytes} tmpfs ${path}`);
    // The shell then waits for its input to end, which is when this process is gone.
    const script = `${mounts.join(" && ")} && echo $$ && exec cat`;
    const holder = spawn("unshare", [...flags, "sh", "-ec", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    let said = "";
    holder.stdout!.setEncoding("utf8").on("data", (text: string) => said += text);
    const pid = await until("the disks are mounted", probeMs, () => Number(said) || undefined);
    return new SmallDisks(folder, holder, pid, count);
  }

  /** Where a node's data is to be, as it sees it. */
  dataFolder(index: number): string {
    return join(this.#folder, `${index}`, "data");
  }

  /** The same command, run where the disks are. Its process id stays its own. */
  wrap(command: readonly string[]): readonly string[] {
    return [
      ...["nsenter", "--user", "--mount", "--preserve-credentials"],
      ...["--target", `${this.#pid}`, "--", ...command],
    ];
  }

  freeBytes(index: number): number {
    const { bavail, bsize } = statfsSync(this.#seen(index));
    return bavail * bsize;
  }

  /** Takes room until so much is free. */
  fill(index: number, freeBytes: number): void {
    const piece = new Uint8Array(64 << 10);
    const file = join(this.#seen(index), "filler");
    try {
      for (let left = this.freeBytes(index) - freeBytes; left > 0; left -= piece.length) {
        writeFileSync(file, piece.subarray(0, Math.min(left, piece.length)), { flag: "a" });
      }
    } catch (error) {
      // The node takes its part at the same time: full is what was wanted.
      if ((error as { code?: string }).code !== "ENOSPC") throw error;
    }
  }

  /** Gives back what {@link fill} took. */
  free(index: number): void {
    rmSync(join(this.#seen(index), "filler"), { force: true });
  }

  /** After the nodes have ended. */
  unmount(): void {
    this.#holder.stdin!.end();
    this.#holder.kill("SIGKILL");
    for (let index = 0; index < this.#count; index++) {
      rmSync(join(this.#folder, `${index}`), { recursive: true, force: true });
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** A disk as this process sees it, which is outside of the namespace. */
  #seen(index: number): string {
    return `/proc/${this.#pid}/root${this.#folder}/${index}`;
  }
}
