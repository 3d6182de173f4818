/** A log on the simulator's disk, and a naive twin that says what it must hold. */
import assert from "node:assert/strict";
import { encodeText, equalBytes } from "../../../src/base/bytes.ts";
import { emptyConfiguration } from "../../../src/raft/core/configuration.ts";
import type {
  Configuration,
  Entry,
  HardState,
  LogIndex,
  SnapshotMeta,
  Term,
} from "../../../src/raft/core/types.ts";
import type { LogError } from "../../../src/raft/wal/error.ts";
import { logDefaults, type LogOptions, type SpaceState } from "../../../src/raft/wal/options.ts";
import { type OpenedLog, openLog } from "../../../src/raft/wal/open_log.ts";
import type { RecoveredGroup } from "../../../src/raft/wal/recovery.ts";
import type { WriteAheadLog } from "../../../src/raft/wal/write_ahead_log.ts";
import type { Runtime } from "../../../src/runtime/port.ts";
import type { SimMachine } from "../../../src/runtime/sim/machine.ts";
import {
  createSimulation,
  type Simulation,
  type SimulationOptions,
} from "../../../src/runtime/sim/simulation.ts";

export const directory = "/data/raft";

export const smallOptions: LogOptions = {
  directory,
  identity: { clusterId: "c1", nodeId: "n1", replicas: [{ group: 0, replica: 1 }] },
  create: true,
  segmentBytes: 4096,
  sparesMax: 2,
  batchBytesMax: logDefaults.batchBytesMax,
  lowWaterBytes: 0,
};

export interface Lab {
  readonly simulation: Simulation;
  readonly machine: SimMachine;
}

export async function makeLab(
  options: Partial<SimulationOptions> = {},
  diskBytes?: number,
): Promise<Lab> {
  const simulation = createSimulation({ seed: 1, ...options });
  const machine = simulation.machine("a", { diskBytes });
  // The node makes its data directory durable before it opens a log in it.
  const { disk } = machine.runtime;
  await simulation.wait(disk.makeDirectory("/data").then(() => disk.syncDirectory("/")));
  return { simulation, machine };
}

/** What the owner of a log was told. */
export interface Told {
  durable: number;
  failed: LogError[];
  space: SpaceState[];
}

export interface Running extends OpenedLog {
  readonly told: Told;
}

export async function openOn(
  runtime: Pick<Runtime, "disk" | "random">,
  options: Partial<LogOptions> = {},
  told: Told = { durable: 0, failed: [], space: [] },
): Promise<Running> {
  const opened = await openLog(runtime, {
    durable: (ticket) => {
      assert.ok(ticket > told.durable, "tickets ascend");
      told.durable = ticket;
    },
    failed: (error) => told.failed.push(error),
    space: (state) => told.space.push(state),
  }, { ...smallOptions, ...options });
  return { ...opened, told };
}

/** Puts files on a machine's disk, durably. */
export async function placeFiles(
  { simulation, machine }: Lab,
  files: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  const { disk } = machine.runtime;
  await simulation.wait((async () => {
    await disk.makeDirectory(directory);
    for (const [path, bytes] of files) {
      const file = await disk.open(path, { write: true, create: true, truncate: true });
      await file.write(bytes, 0);
      await file.sync();
      await file.close();
    }
    await disk.syncDirectory(directory);
    await disk.syncDirectory("/data");
  })());
}

export function filesOf({ machine }: Lab): Map<string, Uint8Array> {
  return new Map(
    machine.disk.paths().map((path) => [path, machine.disk.content(path) as Uint8Array]),
  );
}

// ---------------------------------------------------------------------------------------------
// Values

export function entry(index: number, term: number, data: string | Uint8Array = ""): Entry {
  return {
    index: index as LogIndex,
    term: term as Term,
    type: 0,
    data: typeof data === "string" ? encodeText(data) : data,
  };
}

export function entries(from: number, to: number, term: number, data = "entry"): Entry[] {
  const list: Entry[] = [];
  for (let index = from; index <= to; index++) list.push(entry(index, term, `${data} ${index}`));
  return list;
}

export function hardState(term: number, vote: number, commit: number): HardState {
  return { term: term as Term, vote, commit: commit as LogIndex };
}

export function configuration(...voters: number[]): Configuration {
  return { ...emptyConfiguration, voters };
}

export function meta(index: number, term: number, ...voters: number[]): SnapshotMeta {
  return {
    index: index as LogIndex,
    term: term as Term,
    configuration: configuration(...voters),
  };
}

// ---------------------------------------------------------------------------------------------
// The twin

interface TwinGroup {
  replica: number;
  hardState: HardState;
  /** What a hard state that nobody waits for may be instead. */
  commits: number[];
  snapshot: SnapshotMeta;
  entries: Entry[];
}

type State = Map<number, TwinGroup>;

/** Does what the log does, and keeps the state after every ticket. */
export class Twin {
  readonly states: State[] = [new Map()];

  get state(): State {
    return this.states[this.states.length - 1];
  }

  create(log: WriteAheadLog, group: number, replica: number): number {
    this.#change(group, () => ({
      replica,
      hardState: hardState(0, 0, 0),
      commits: [0],
      snapshot: meta(0, 0),
      entries: [],
    }));
    return this.#same(log.createGroup(group, replica));
  }

  remove(log: WriteAheadLog, group: number): number {
    const next = new Map(this.state);
    next.delete(group);
    this.states.push(next);
    return this.#same(log.removeGroup(group));
  }

  append(
    log: WriteAheadLog,
    group: number,
    write: { entries?: Entry[]; hardState?: HardState; snapshot?: SnapshotMeta; lazy?: boolean },
  ): number {
    this.#change(group, (known) => {
      const next = { ...known };
      if (write.snapshot !== undefined) {
        next.snapshot = write.snapshot;
        next.entries = [];
      }
      if (write.hardState !== undefined) {
        next.hardState = write.hardState;
        const alone = write.lazy === true && write.snapshot === undefined &&
          (write.entries ?? []).length === 0;
        next.commits = alone
          ? [...known.commits, write.hardState.commit]
          : [write.hardState.commit];
      }
      const [first] = write.entries ?? [];
      if (first !== undefined) {
        next.entries = [
          ...next.entries.filter((one) => one.index < first.index),
          ...write.entries ?? [],
        ];
      }
      return next;
    });
    return this.#same(log.append(group, {
      snapshot: write.snapshot,
      hardState: write.hardState,
      entries: write.entries ?? [],
      mustSync: write.lazy !== true,
    }));
  }

  truncate(log: WriteAheadLog, group: number, after: number): number {
    this.#change(group, (known) => ({
      ...known,
      entries: known.entries.filter((one) => one.index <= after),
    }));
    return this.#same(log.truncate(group, after));
  }

  compact(log: WriteAheadLog, group: number, snapshot: SnapshotMeta): number {
    this.#change(group, (known) => ({
      ...known,
      snapshot,
      entries: known.entries.filter((one) => one.index > snapshot.index),
    }));
    return this.#same(log.compact(group, snapshot));
  }

  /** The newest ticket after which the state was this; undefined when there is none. */
  find(groups: readonly RecoveredGroup[]): number | undefined {
    const at = this.states.findLastIndex((state) => sameState(state, groups));
    return at < 0 ? undefined : at;
  }

  /**
   * The recovered groups must be the state after some ticket from `least` on. Goes on from there
   * and answers the ticket.
   */
  check(groups: readonly RecoveredGroup[], least: number, what: string): number {
    for (let ticket = this.states.length - 1; ticket >= least; ticket--) {
      if (!sameState(this.states[ticket], groups)) continue;
      // What was not acknowledged and is not there never happened.
      this.states.length = 0;
      this.states.push(resume(groups));
      return ticket;
    }
    const newest = this.states[this.states.length - 1];
    assert.fail(
      `${what}: no state from ticket ${least} on; found ${describe(groups)}, newest ` +
        describe([...newest].map(([group, one]) => ({ group, ...one }))),
    );
  }

  #change(group: number, change: (known: TwinGroup) => TwinGroup): void {
    const next = new Map(this.state);
    next.set(group, change(next.get(group) as TwinGroup));
    this.states.push(next);
  }

  #same(ticket: number): number {
    assert.equal(ticket, this.states.length - 1, "the twin counts as the log does");
    return ticket;
  }
}

function resume(groups: readonly RecoveredGroup[]): State {
  return new Map(
    groups.map(({ group, replica, hardState, snapshot, entries }) => [group, {
      replica,
      hardState,
      commits: [hardState.commit],
      snapshot,
      entries: [...entries],
    }]),
  );
}

function sameState(state: State, groups: readonly RecoveredGroup[]): boolean {
  return state.size === groups.length && groups.every((found) => {
    const twin = state.get(found.group);
    return twin !== undefined && twin.replica === found.replica &&
      twin.hardState.term === found.hardState.term &&
      twin.hardState.vote === found.hardState.vote &&
      twin.commits.includes(found.hardState.commit) &&
      twin.snapshot.index === found.snapshot.index && twin.snapshot.term === found.snapshot.term &&
      twin.snapshot.configuration.voters.join() === found.snapshot.configuration.voters.join() &&
      sameEntries(twin.entries, found.entries);
  });
}

export function sameEntries(a: readonly Entry[], b: readonly Entry[]): boolean {
  return a.length === b.length && a.every((one, at) => {
    const other = b[at];
    return one.index === other.index && one.term === other.term && one.type === other.type &&
      equalBytes(one.data, other.data);
  });
}

export function describe(
  groups: readonly Pick<RecoveredGroup, "group" | "hardState" | "snapshot" | "entries">[],
): string {
  return groups.map(({ group, hardState, snapshot, entries }) =>
    `${group}: ${hardState.term}/${hardState.vote}/${hardState.commit} from ${snapshot.index} ` +
    `${entries.length} entries to ${entries.at(-1)?.index ?? "-"}`
  ).join("; ");
}
