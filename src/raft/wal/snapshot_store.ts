/**
 * The snapshots of all groups of a process, two of each: should the newer one turn out damaged, the
 * older one and the log behind it are enough. So the log may be compacted only up to the older
 * ({@link SnapshotStore.older}), and only after `commit` of the newer has resolved. One that a leader
 * has sent stands beside them until the log knows of it ({@link SnapshotStore.prune}).
 */
import { equalBytes } from "../../base/bytes.ts";
import { Code, CoveyError } from "../../base/error.ts";
import { type Disk, DiskError, type DiskFile } from "../../runtime/port.ts";
import { encodeConfiguration } from "../core/configuration_codec.ts";
import type { SnapshotMeta } from "../core/types.ts";
import { LogError } from "./error.ts";
import {
  chunkBytesDefault,
  parseSnapshotName,
  type SnapshotHeader,
  snapshotName,
  type SnapshotSource,
} from "./snapshot_format.ts";
import { readSnapshotHeader, SnapshotReader } from "./snapshot_reader.ts";
import { SnapshotWriter } from "./snapshot_writer.ts";

const kept = 2;
const noSource: SnapshotSource = { bytes: 0, checksum: 0 };

interface Stored {
  readonly path: string;
  readonly meta: SnapshotMeta;
  /** Why it cannot be read. */
  damage: LogError | undefined;
}

export interface SnapshotStoreOptions {
  readonly directory: string;
  /** Of the log that these snapshots go with. */
  readonly logId: Uint8Array;
  /** Groups that the log has; without them all are kept. */
  readonly groups?: { has(group: number): boolean };
  readonly chunkBytes?: number;
}

/** A snapshot that can be read, and what was passed over to get there. */
export interface FoundSnapshot {
  readonly reader: SnapshotReader;
  readonly damaged: readonly LogError[];
}

/** One that was read to its end. */
export interface UsedSnapshot {
  readonly meta: SnapshotMeta;
  readonly bytes: number;
  readonly damaged: readonly LogError[];
}

export class SnapshotStore {
  readonly #disk: Disk;
  readonly #options: SnapshotStoreOptions;
  /** By group, in the order of their indexes. */
  readonly #stored = new Map<number, Stored[]>();
  /** Unfinished ones that somebody writes: a group may take its own while its leader sends one. */
  readonly #writing = new Set<string>();

  private constructor(disk: Disk, options: SnapshotStoreOptions) {
    this.#disk = disk;
    this.#options = options;
  }

  /**
   * Reads the headers of what is there. What is of no group of the log goes: a crash came between the
   * log and {@link remove}, or before a group that was being made was in the log.
   */
  static async open(disk: Disk, options: SnapshotStoreOptions): Promise<SnapshotStore> {
    const store = new SnapshotStore(disk, options);
    await makeDurably(disk, options.directory);
    // Nor may the names in it be durable yet, and the log is compacted because of them.
    await disk.syncDirectory(options.directory);
    for (const name of await disk.list(options.directory)) {
      const parsed = parseSnapshotName(name);
      if (parsed === undefined) continue;
      const path = `${options.directory}/${name}`;
      if (options.groups?.has(parsed.group) === false) await disk.remove(path);
      else if (!parsed.partial) await store.#take(path, parsed);
    }
    return store;
  }

  /** What is known of a group's snapshots, the oldest first, damaged ones left out. */
  list(group: number): SnapshotMeta[] {
    return this.#good(group).map(({ meta }) => meta);
  }

  /**
   * Up to here the log may be compacted, if it goes up to entry `upTo`: undefined while it does not
   * go with two.
   */
  older(group: number, upTo: number = Infinity): SnapshotMeta | undefined {
    const good = this.#good(group).filter(({ meta }) => meta.index <= upTo);
    return good.length < kept ? undefined : good[good.length - kept].meta;
  }

  /**
   * Removes what is not needed any more by a log that goes up to entry `upTo`: beside the two newest
   * of its own it may need one that a leader has sent and that it does not know of yet. Until it does,
   * a crash leaves it with its own. Of those that were sent, older ones are of no use.
   */
  async prune(group: number, upTo: number): Promise<void> {
    const sent = this.#good(group).filter(({ meta }) => meta.index > upTo).slice(-1);
    await this.#pruneOwn(group, upTo, sent);
  }

  /** Keeps the newest up to entry `upTo`, and these. */
  async #pruneOwn(group: number, upTo: number, sent: readonly Stored[]): Promise<void> {
    const all = this.#stored.get(group) ?? [];
    const own = this.#good(group).filter(({ meta }) => meta.index <= upTo).slice(-kept);
    const left = [...own, ...sent];
    this.#stored.set(group, left);
    for (const stored of all) {
      if (!left.includes(stored)) await this.#disk.remove(stored.path);
    }
    if (all.length > left.length) await this.#disk.syncDirectory(this.#options.directory);
  }

  /** Begins a snapshot of the machine here. */
  async create(group: number, meta: SnapshotMeta): Promise<SnapshotWriter> {
    const writer = await this.#writer(this.#header(group, meta, noSource));
    return await begun(writer, () => writer.begin());
  }

  /**
   * Begins to receive a snapshot, or goes on where the transfer of the very same broke off: the
   * sender is to send from `writer.offset`.
   */
  async receive(
    group: number,
    meta: SnapshotMeta,
    source: SnapshotSource,
  ): Promise<SnapshotWriter> {
    const header = this.#header(group, meta, source);
    const resumes = await this.#isPartOf(header);
    const writer = await this.#writer(header);
    return await begun(writer, () => resumes ? writer.resume() : writer.begin());
  }

  /**
   * The newest snapshot that is whole and not older than `least`, the log's mark: behind an older
   * one, entries are missing. Undefined when there is none and none is needed. `fits` says whether
   * it belongs to the log: a crash may have come between a leader's snapshot and its mark there.
   */
  async read(
    group: number,
    least: number,
    fits: (meta: SnapshotMeta) => boolean = () => true,
  ): Promise<FoundSnapshot | undefined> {
    const found = await this.#newest(
      { group, least, fits },
      (path) => SnapshotReader.open(this.#disk, path, this.#options.logId),
    );
    return found === undefined ? undefined : { reader: found.result, damaged: found.damaged };
  }

  /**
   * As {@link read}, but hands it to `use`, which reads all of it and begins anew with an older one
   * if this one turns out damaged on the way: it is read once, and not twice. Answers which it was.
   */
  async use(
    group: number,
    least: number,
    fits: (meta: SnapshotMeta) => boolean,
    use: (reader: SnapshotReader) => Promise<void>,
  ): Promise<UsedSnapshot | undefined> {
    const found = await this.#newest({ group, least, fits }, async (path) => {
      const reader = await SnapshotReader.begin(this.#disk, path, this.#options.logId);
      try {
        await use(reader);
      } finally {
        await reader.close();
      }
      return { meta: reader.header.meta, bytes: reader.source.bytes };
    });
    return found === undefined ? undefined : { ...found.result, damaged: found.damaged };
  }

  /** What `attempt` makes of the newest one that is not damaged. */
  async #newest<T>(
    { group, least, fits }: {
      readonly group: number;
      readonly least: number;
      readonly fits: (meta: SnapshotMeta) => boolean;
    },
    attempt: (path: string) => Promise<T>,
  ): Promise<{ readonly result: T; readonly damaged: readonly LogError[] } | undefined> {
    const damaged: LogError[] = [];
    for (const stored of [...this.#stored.get(group) ?? []].reverse()) {
      if (stored.meta.index < least) break;
      if (!fits(stored.meta)) continue;
      if (stored.damage === undefined) {
        try {
          return { result: await attempt(stored.path), damaged };
        } catch (error) {
          if (!(error instanceof LogError) || error.kind !== "damaged") throw error;
          stored.damage = error;
        }
      }
      damaged.push(stored.damage);
    }
    if (damaged.length > 0 && least > 0) throw damaged[0];
    if (least === 0) return undefined;
    throw new LogError(
      "lost",
      { file: this.#options.directory, group },
      `the log begins behind entry ${least}, and the snapshot up to there is gone`,
    );
  }

  /** Removes a group's snapshots, finished or not. */
  async remove(group: number): Promise<void> {
    this.#stored.delete(group);
    const { directory } = this.#options;
    for (const name of await this.#disk.list(directory)) {
      if (parseSnapshotName(name)?.group === group) await this.#disk.remove(`${directory}/${name}`);
    }
    await this.#disk.syncDirectory(directory);
  }

  #header(group: number, meta: SnapshotMeta, source: SnapshotSource): SnapshotHeader {
    const { logId, chunkBytes } = this.#options;
    return { group, meta, logId, source, chunkBytes: chunkBytes ?? chunkBytesDefault };
  }

  #path({ group, meta }: Pick<SnapshotHeader, "group" | "meta">, partial: boolean): string {
    const { index, term } = meta;
    return `${this.#options.directory}/${snapshotName({ group, index, term, partial })}`;
  }

  #good(group: number): Stored[] {
    return (this.#stored.get(group) ?? []).filter(({ damage }) => damage === undefined);
  }

  async #writer(header: SnapshotHeader): Promise<SnapshotWriter> {
    const path = this.#path(header, true);
    if (this.#writing.has(path)) {
      throw new CoveyError(Code.aborted, `${path} is being written: try again`);
    }
    this.#writing.add(path);
    const closed = (): void => void this.#writing.delete(path);
    try {
      await this.#removeParts(header);
      const file = await this.#disk.open(path, { read: true, write: true, create: true });
      return new SnapshotWriter({ path, file }, header, {
        finished: () => this.#finished(header),
        abandoned: () => this.#disk.remove(path),
        closed,
      });
    } catch (error) {
      closed();
      throw error;
    }
  }

  /** Other unfinished snapshots of the group: nobody will go on with them. */
  async #removeParts(header: SnapshotHeader): Promise<void> {
    const { directory } = this.#options;
    for (const name of await this.#disk.list(directory)) {
      const parsed = parseSnapshotName(name);
      const path = `${directory}/${name}`;
      if (parsed?.partial !== true || parsed.group !== header.group) continue;
      if (!this.#writing.has(path)) await this.#disk.remove(path);
    }
  }

  async #isPartOf(header: SnapshotHeader): Promise<boolean> {
    let file: DiskFile;
    const path = this.#path(header, true);
    try {
      file = await this.#disk.open(path, { read: true });
    } catch (error) {
      if (error instanceof DiskError && error.kind === "not-found") return false;
      throw error;
    }
    try {
      const found = await readSnapshotHeader(file, path);
      return equalBytes(found.logId, header.logId) && found.chunkBytes === header.chunkBytes &&
        found.source.bytes === header.source.bytes &&
        found.source.checksum === header.source.checksum &&
        equalBytes(
          encodeConfiguration(found.meta.configuration),
          encodeConfiguration(header.meta.configuration),
        );
    } catch (error) {
      // A part that a crash has torn is no part of anything.
      if (error instanceof LogError) return false;
      throw error;
    } finally {
      await file.close();
    }
  }

  async #finished(header: SnapshotHeader): Promise<void> {
    const { directory } = this.#options;
    const path = this.#path(header, false);
    await this.#disk.rename(this.#path(header, true), path);
    await this.#disk.syncDirectory(directory);
    const { group, meta } = header;
    const others = (this.#stored.get(group) ?? []).filter((stored) => stored.path !== path);
    const all = [...others, { path, meta, damage: undefined }];
    all.sort((a, b) => a.meta.index - b.meta.index || a.meta.term - b.meta.term);
    this.#stored.set(group, all);
    const isOwn = header.source.bytes === 0 && header.source.checksum === 0;
    if (!isOwn) return;
    // The log may have the mark of one that was sent, and not yet that of the next.
    const sent = this.#good(group).filter((one) => one.meta.index > meta.index);
    await this.#pruneOwn(group, meta.index, sent);
  }

  async #take(
    path: string,
    name: { readonly group: number; readonly index: number; readonly term: number },
  ): Promise<void> {
    const { group } = name;
    const list = this.#stored.get(group) ?? [];
    this.#stored.set(group, list);
    const file = await this.#disk.open(path, { read: true });
    try {
      const { meta } = await readSnapshotHeader(file, path);
      list.push({ path, meta, damage: undefined });
    } catch (error) {
      if (!(error instanceof LogError) || error.kind !== "damaged") throw error;
      list.push({
        path,
        meta: {
          index: name.index as SnapshotMeta["index"],
          term: name.term as SnapshotMeta["term"],
          configuration: {
            voters: [],
            votersOutgoing: [],
            learners: [],
            learnersNext: [],
            autoLeave: false,
          },
        },
        damage: error,
      });
    } finally {
      await file.close();
    }
    list.sort((a, b) => a.meta.index - b.meta.index || a.meta.term - b.meta.term);
  }
}

/**
 * The folder's own name must survive a power loss before anything in it is relied on. Whoever made
 * it may have been killed before that, so it is synced at each start; what is clean costs no write.
 */
async function makeDurably(disk: Disk, directory: string): Promise<void> {
  await disk.makeDirectory(directory, 0o700);
  const slash = directory.lastIndexOf("/");
  await disk.syncDirectory(slash > 0 ? directory.slice(0, slash) : slash === 0 ? "/" : ".");
}

/** A writer that could not even begin holds nothing. */
async function begun(
  writer: SnapshotWriter,
  begin: () => Promise<void>,
): Promise<SnapshotWriter> {
  try {
    await begin();
    return writer;
  } catch (error) {
    await writer.suspend();
    throw error;
  }
}
