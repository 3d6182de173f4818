/**
 * One replica with a disk and a machine, driven as docs/raft.md says. The disk is slow: batches wait
 * until they are completed, and a crash loses those that were not, except for as many of the first
 * as the caller lets survive. The machine chains a hash over what it applies.
 */
import type { Prng } from "../../../../src/base/prng.ts";
import { foundingLog, joiningLog } from "../../../../src/raft/core/founding.ts";
import { RaftNode } from "../../../../src/raft/core/node.ts";
import type { Options } from "../../../../src/raft/core/options.ts";
import type { Dropped, ReadReady, Ready } from "../../../../src/raft/core/ready.ts";
import type { Status } from "../../../../src/raft/core/status.ts";
import type {
  Configuration,
  Entry,
  HardState,
  LogIndex,
  Message,
  SnapshotMeta,
  Term,
} from "../../../../src/raft/core/types.ts";

export interface MachineState {
  readonly index: number;
  readonly hash: number;
}

/** What a crash leaves. */
export interface Disk {
  hardState: HardState;
  snapshot: SnapshotMeta;
  machine: MachineState;
  compacted: { index: LogIndex; term: Term };
  entries: Entry[];
}

/** Who is told of everything that leaves a host or becomes durable. */
export interface Observer {
  sent(host: Host, message: Message): void;
  handed(host: Host, ready: Ready): void;
  durable(host: Host): void;
  applied(host: Host, entry: Entry): void;
  restored(host: Host, snapshot: SnapshotMeta): void;
  started(host: Host): void;
  stepped(host: Host): void;
}

type Work =
  | { readonly kind: "entries"; readonly entries: readonly Entry[] }
  | { readonly kind: "snapshot"; readonly snapshot: SnapshotMeta };

export class Host {
  readonly id: number;
  readonly options: Partial<Options>;
  readonly observer: Observer;
  readonly disk: Disk;
  /** Machine states by snapshot index, shared by the cluster: a snapshot's bytes. */
  readonly snapshots: Map<number, MachineState>;
  readonly reads: ReadReady[] = [];
  readonly dropped: Dropped[] = [];
  readonly random: Prng;
  machine: MachineState = { index: 0, hash: 0 };
  writes: Ready[] = [];
  work: Work[] = [];
  #node: RaftNode | undefined;

  constructor(
    id: number,
    configuration: Configuration,
    parts: {
      readonly options: Partial<Options>;
      readonly observer: Observer;
      readonly snapshots: Map<number, MachineState>;
      readonly random: Prng;
    },
  ) {
    this.id = id;
    this.options = parts.options;
    this.observer = parts.observer;
    this.snapshots = parts.snapshots;
    this.random = parts.random;
    const stored = configuration.voters.length > 0 ? foundingLog(configuration) : joiningLog();
    const { index, term } = stored.snapshot;
    this.machine = { index, hash: 0 };
    this.disk = { ...stored, machine: this.machine, compacted: { index, term }, entries: [] };
    this.snapshots.set(index, this.machine);
    this.start();
  }

  get isUp(): boolean {
    return this.#node !== undefined;
  }

  get node(): RaftNode {
    if (this.#node === undefined) throw new Error(`replica ${this.id} is down`);
    return this.#node;
  }

  get status(): Status {
    return this.node.status();
  }

  /** The term of an entry on disk; undefined when it is not there. */
  diskTerm(index: number): Term | undefined {
    const { compacted, entries } = this.disk;
    if (index === compacted.index) return compacted.term;
    return entries[index - compacted.index - 1]?.term;
  }

  get diskLastIndex(): number {
    return this.disk.compacted.index + this.disk.entries.length;
  }

  start(): void {
    const { hardState, snapshot, compacted, entries, machine } = this.disk;
    this.machine = machine;
    this.#node = new RaftNode(
      { id: this.id, ...this.options },
      { hardState, snapshot, compacted, entries },
      this.random.fork(),
    );
    this.observer.started(this);
  }

  /** The first `surviving` of the batches that are not durable yet become it after all. */
  crash(surviving = 0): void {
    for (const ready of this.writes.slice(0, surviving)) this.#write(ready);
    this.#node = undefined;
    this.writes = [];
    this.work = [];
    this.reads.length = 0;
    this.dropped.length = 0;
  }

  /** Takes out what the node wants done, and sends what need not wait. */
  collect(): void {
    while (this.node.hasReady()) {
      const ready = this.node.ready();
      this.observer.handed(this, ready);
      this.writes.push(ready);
      if (ready.snapshot !== undefined) {
        this.work.push({ kind: "snapshot", snapshot: ready.snapshot });
      }
      if (ready.committed.length > 0) {
        this.work.push({ kind: "entries", entries: ready.committed });
      }
      this.reads.push(...ready.reads);
      this.dropped.push(...ready.dropped);
      for (const message of ready.messages) this.observer.sent(this, message);
    }
    this.observer.stepped(this);
  }

  /** The oldest `count` batches become durable, in one report. */
  completeWrites(count = 1): void {
    const done = this.writes.splice(0, count);
    if (done.length === 0) return;
    for (const ready of done) this.#write(ready);
    this.observer.durable(this);
    // A real driver has both orders, and so has this.
    const sendFirst = this.random.chance(0.5);
    if (!sendFirst) this.node.persisted(done[done.length - 1].batch);
    for (const ready of done) {
      for (const message of ready.afterSync) this.observer.sent(this, message);
    }
    if (sendFirst) this.node.persisted(done[done.length - 1].batch);
    this.collect();
  }

  /** The machine does the next piece of work. */
  applyWork(): void {
    const next = this.work.shift();
    if (next === undefined) return;
    if (next.kind === "snapshot") {
      const { index } = next.snapshot;
      this.machine = this.snapshots.get(index)!;
      this.observer.restored(this, next.snapshot);
      this.node.applied(index);
    } else {
      for (const entry of next.entries) {
        this.machine = { index: entry.index, hash: chain(this.machine.hash, entry) };
        this.observer.applied(this, entry);
      }
      this.node.applied(next.entries[next.entries.length - 1].index);
    }
    this.collect();
  }

  /** Snapshots the machine, and compacts the log but for the newest `kept` entries. */
  takeSnapshot(kept: number): boolean {
    // Written beside the log at once; only what the log has durably is covered.
    const { index } = this.machine;
    if (index <= this.disk.snapshot.index || this.work.some(({ kind }) => kind === "snapshot")) {
      return false;
    }
    if (index > this.diskLastIndex || index > this.status.stableIndex) return false;
    const snapshot = this.node.snapshotMeta(index as LogIndex);
    this.snapshots.set(index, this.machine);
    this.disk.snapshot = snapshot;
    this.disk.machine = this.machine;
    this.node.snapshotStored(snapshot);
    const end = Math.min(index, Math.max(0, index - kept));
    this.node.compact(end as LogIndex);
    if (end > this.disk.compacted.index) {
      const term = this.diskTerm(end)!;
      this.disk.entries = this.disk.entries.slice(end - this.disk.compacted.index);
      this.disk.compacted = { index: end as LogIndex, term };
    }
    this.collect();
    return true;
  }

  /** Compacts the log in memory but for `kept` entries. Says whether the snapshot is behind that. */
  forget(kept: number): boolean {
    this.node.compact(Math.max(0, this.machine.index - kept) as LogIndex);
    return this.status.firstIndex > this.status.snapshotIndex + 1;
  }

  #write(ready: Ready): void {
    const { disk } = this;
    if (ready.snapshot !== undefined) {
      disk.snapshot = ready.snapshot;
      disk.machine = this.snapshots.get(ready.snapshot.index)!;
      disk.compacted = { index: ready.snapshot.index, term: ready.snapshot.term };
      disk.entries = [];
    }
    if (ready.hardState !== undefined) disk.hardState = ready.hardState;
    if (ready.entries.length > 0) {
      const start = ready.entries[0].index - disk.compacted.index - 1;
      if (start < 0 || start > disk.entries.length) throw new Error("a gap on the disk");
      disk.entries = [...disk.entries.slice(0, start), ...ready.entries];
    }
  }
}

/** A hash of everything applied so far. */
export function chain(hash: number, entry: Entry): number {
  let next = Math.imul(hash ^ entry.index, 0x9e3779b1) ^ Math.imul(entry.term, 0x85ebca6b);
  for (const byte of entry.data) next = Math.imul(next ^ byte, 0x01000193);
  return Math.imul(next ^ entry.type, 0xc2b2ae35) >>> 0;
}
