/** The disk of one machine: what survives its processes, and the faults that a test can ask for. */
import type { Prng } from "../../base/prng.ts";
import { DiskError } from "../port.ts";
import { DiskTree } from "./disk_tree.ts";
import type { FileNode } from "./file_node.ts";
import type { Range } from "./faults.ts";
import { drawTicks, generatorFor, type World } from "./world.ts";

/** Which calls a fault meets. */
export interface DiskFaultOptions {
  /** How many calls; default 1, `Infinity` until {@link SimDisk.heal}. */
  readonly times?: number;
  /** Only files whose path begins with this. */
  readonly path?: string;
}

type FailingCall = "open" | "read" | "write" | "sync";

interface PlannedFailure {
  readonly call: FailingCall;
  readonly path: string;
  times: number;
}

export class SimDisk {
  readonly tree = new DiskTree();
  /** Bytes that all files may hold together. */
  quotaBytes: number;
  readonly #world: World;
  readonly #duration: Prng;
  readonly #failure: Prng;
  readonly #crash: Prng;
  #planned: PlannedFailure[] = [];
  readonly #denied = new Set<string>();
  #syncMs: Range | undefined;

  constructor(world: World, machineName: string, quotaBytes: number) {
    this.#world = world;
    this.quotaBytes = quotaBytes;
    this.#duration = generatorFor(world.seed, `disk duration ${machineName}`);
    this.#failure = generatorFor(world.seed, `disk failure ${machineName}`);
    this.#crash = generatorFor(world.seed, `disk crash ${machineName}`);
  }

  // -------------------------------------------------------------------------------------------
  // For tests

  /** The next syncs of files and folders fail with `io`. */
  failSync(options: DiskFaultOptions = {}): void {
    this.#plan("sync", options);
  }

  /** The next calls that need a descriptor of their own fail with `limit`, and change nothing. */
  failOpen(options: DiskFaultOptions = {}): void {
    this.#plan("open", options);
  }

  failWrite(options: DiskFaultOptions = {}): void {
    this.#plan("write", options);
  }

  failRead(options: DiskFaultOptions = {}): void {
    this.#plan("read", options);
  }

  /** Nobody may touch what begins with this path, by files or by sockets. */
  deny(path: string): void {
    this.#denied.add(path);
  }

  /** Every sync takes this long from now on. */
  slowSync(ms: Range): void {
    this.#syncMs = ms;
  }

  /** Ends planned failures, slowness and denials. */
  heal(): void {
    this.#planned = [];
    this.#denied.clear();
    this.#syncMs = undefined;
  }

  /** Turns one bit over, at a random place unless told where. Answers where. */
  flipBit(path: string, position?: number, bit?: number): { position: number; bit: number } {
    const file = this.tree.file(path);
    const place = position ?? this.#failure.below(Math.max(1, file.size));
    const which = bit ?? this.#failure.below(8);
    file.flipBit(place, which);
    this.#world.coverage.fault("bitFlip");
    return { position: place, bit: which };
  }

  /** What a program would read now; undefined when there is no such file. */
  content(path: string): Uint8Array | undefined {
    const node = this.tree.find(path);
    return node?.kind === "file" ? node.content() : undefined;
  }

  /** Paths of all files, sorted. */
  paths(): string[] {
    return [...this.tree.files().keys()];
  }

  /** Bytes of all files. */
  usedBytes(): number {
    let bytes = 0;
    for (const file of this.tree.files().values()) bytes += file.size;
    return bytes;
  }

  // -------------------------------------------------------------------------------------------
  // For processes and machines

  /** Duration of a call that does not wait for the medium. */
  ioTicks(): number {
    return drawTicks(this.#duration, this.#world.faults.diskMs);
  }

  syncTicks(): number {
    const { faults, coverage } = this.#world;
    if (this.#syncMs !== undefined) {
      coverage.fault("slowSync");
      return drawTicks(this.#duration, this.#syncMs);
    }
    if (faults.slowSyncChance > 0 && this.#duration.chance(faults.slowSyncChance)) {
      coverage.fault("slowSync");
      return drawTicks(this.#duration, faults.slowSyncMs);
    }
    return drawTicks(this.#duration, faults.syncMs);
  }

  /** Throws `denied` where {@link deny} says so. */
  checkAllowed(path: string): void {
    if (this.isDenied(path)) throw new DiskError("denied", path, "permission denied");
  }

  isDenied(path: string): boolean {
    for (const denied of this.#denied) if (path.startsWith(denied)) return true;
    return false;
  }

  /** Throws when this call is to fail. */
  maybeFail(call: FailingCall, path: string): void {
    const { faults, coverage } = this.#world;
    const planned = this.#planned.find((plan) => plan.call === call && path.startsWith(plan.path));
    let fails = planned !== undefined;
    if (planned !== undefined) {
      planned.times--;
      if (planned.times <= 0) this.#planned = this.#planned.filter((plan) => plan !== planned);
    } else if (call === "sync" && faults.syncFailureChance > 0) {
      fails = this.#failure.chance(faults.syncFailureChance);
    }
    if (!fails) return;
    coverage.fault(`${call}Failure`);
    if (call === "open") throw new DiskError("limit", path, "no descriptor is left");
    throw new DiskError("io", path, `the disk failed to ${call}`);
  }

  /** Writes what fits; throws `full` after that, so that a part of the bytes is there. */
  write(file: FileNode, path: string, options: { bytes: Uint8Array; position: number }): void {
    const { bytes, position } = options;
    const growth = Math.max(0, position + bytes.length - file.size);
    const room = growth === 0 || this.quotaBytes === Infinity
      ? Infinity
      : this.quotaBytes - this.usedBytes();
    if (growth <= room) return file.write(bytes, position);
    this.#world.coverage.fault("diskFull");
    const fitting = Math.max(0, Math.min(bytes.length, file.size + Math.max(0, room) - position));
    file.write(bytes.subarray(0, fitting), position);
    throw new DiskError("full", path, "no space left on the disk");
  }

  /** How much of an interrupted write got into the cache before its process died. */
  interruptedBytes(bytes: number): number {
    const { tornWriteChance } = this.#world.faults;
    if (tornWriteChance === 0 || !this.#crash.chance(tornWriteChance)) return 0;
    return this.#crash.below(bytes + 1);
  }

  /** The machine went down: only what was durable remains, and maybe some of the rest. */
  crash(): void {
    const { faults, coverage } = this.#world;
    this.tree.crash({ random: this.#crash, tornChance: faults.tornWriteChance, coverage });
  }

  #plan(call: FailingCall, { times = 1, path = "" }: DiskFaultOptions): void {
    this.#planned.push({ call, path, times });
  }
}
