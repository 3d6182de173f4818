/** What is remembered of one replica from one start of its process to its end. */
import type { RaftNode } from "../../../src/raft/core/node.ts";
import type { Ready } from "../../../src/raft/core/ready.ts";
import type { Counters } from "../../../src/raft/core/replica.ts";
import type { Status } from "../../../src/raft/core/status.ts";
import { type Configuration, EntryType } from "../../../src/raft/core/types.ts";
import type { GroupOfAny } from "../../../src/raft/group_types.ts";
import type { RaftHost } from "../../../src/raft/host.ts";
import type { DiskWatch } from "./disk_watch.ts";
import { DurableGroup, entryHash } from "./durable_log.ts";

export interface ReplicaParts {
  /** The machine that it runs on. */
  readonly name: string;
  readonly group: GroupOfAny;
  readonly core: RaftNode;
  readonly host: RaftHost;
  readonly disk: DiskWatch;
  /** Its process lives. */
  readonly alive: () => boolean;
}

export class ReplicaWatch {
  readonly parts: ReplicaParts;
  readonly id: number;
  /** The log as the replica has it in memory: the disk's, and what is on its way there. */
  readonly memory: DurableGroup;
  /** As it was when the last batch was handed out. */
  seen: Status;
  /** The newest term that it was seen leading; 0 for none. */
  ledTerm = 0;
  /** The newest entry that its machine has applied in this process. */
  machineIndex = 0;
  configuration: Configuration;
  /** Committed entries that may have changed the configuration, not applied when last seen. */
  #changes: number[] = [];
  /** Changes of the configuration that came into the log since the start. */
  #proposedChanges: number[] = [];

  constructor(parts: ReplicaParts) {
    this.parts = parts;
    this.id = parts.group.replica;
    const stored = parts.disk.log.groups.get(parts.group.id);
    this.memory = stored?.clone() ?? new DurableGroup(this.id);
    this.seen = parts.core.status();
    this.configuration = this.seen.configuration;
  }

  get name(): string {
    return `${this.parts.name}'s replica ${this.id}`;
  }

  /** What the disk holds of the group's log. */
  get disk(): DurableGroup | undefined {
    return this.parts.disk.log.groups.get(this.parts.group.id);
  }

  /** Takes over what a batch writes. Answers how many entries it takes back. */
  handed({ snapshot, entries, committed }: Ready): number {
    const { memory } = this;
    if (snapshot !== undefined) memory.setMark(snapshot.index, snapshot.term, true);
    let cut = 0;
    if (entries.length > 0) {
      cut = Math.max(0, memory.last + 1 - entries[0].index);
      memory.truncate(entries[0].index - 1);
      this.#proposedChanges = this.#proposedChanges.filter((index) => index < entries[0].index);
      for (const { term, type, data } of entries) {
        memory.terms.push(term);
        memory.hashes.push(entryHash(type, data));
      }
    }
    for (const { type, index } of entries) {
      if (type === EntryType.configuration) this.#proposedChanges.push(index);
    }
    for (const { type, index } of committed) {
      if (type === EntryType.configuration) this.#changes.push(index);
    }
    return cut;
  }

  /** Changes in the log that are not applied yet. */
  pendingChanges(applied: number): readonly number[] {
    return this.#proposedChanges.filter((index) => index > applied);
  }

  /** The newest entry up to `applied` that may have changed the configuration. */
  lastChange(applied: number): number {
    let last = 0;
    while (this.#changes.length > 0 && this.#changes[0] <= applied) last = this.#changes.shift()!;
    return last;
  }

  /** How often something happened since the counters were last looked at. */
  news(status: Status): Partial<Record<keyof Counters, number>> {
    const news: Partial<Record<keyof Counters, number>> = {};
    for (const [name, count] of Object.entries(status.counters)) {
      const key = name as keyof Counters;
      if (count > this.seen.counters[key]) news[key] = count - this.seen.counters[key];
    }
    return news;
  }
}
