/**
 * The commit stream: what observers follow, who are no members of the group and cost its leader
 * nothing. Any replica serves it. It is resumable: an observer says which entry it wants next, and
 * gets a snapshot first where that entry is gone.
 */
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../base/error.ts";
import type { FollowRequest, FollowResponseSchema } from "../gen/covey/raft/v1/transport_pb.ts";
import type { LogIndex, SnapshotMeta, Term } from "./core/types.ts";
import type { GroupOfAny } from "./group_types.ts";
import type { RaftHost } from "./host.ts";
import type { LogHold } from "./log_memory.ts";
import { encodeEntries, encodeMeta } from "./wire.ts";

type FollowInit = MessageInitShape<typeof FollowResponseSchema>;

/** Data in one answer. */
const pageBytes = 64 << 10;

export async function* follow(
  host: RaftHost,
  request: FollowRequest,
  signal: AbortSignal,
): AsyncGenerator<FollowInit> {
  if (request.clusterId !== "" && request.clusterId !== host.clusterId) {
    throw new CoveyError(
      Code.failedPrecondition,
      `this node belongs to cluster ${host.clusterId}, not to ${request.clusterId}`,
    );
  }
  const group = host.group(request.group);
  if (group === undefined) {
    throw new CoveyError(Code.notFound, `this node has no replica of group ${request.group}`);
  }
  let next = Math.max(1, Number(request.fromIndex));
  if (!Number.isSafeInteger(next)) {
    throw new CoveyError(Code.invalidArgument, "from_index is out of range");
  }
  /** While it is on its way from a snapshot to the log's end. */
  let hold: LogHold | undefined;
  try {
    for (;;) {
      if (signal.aborted) return;
      const page = group.committedFrom(next as LogIndex, pageBytes);
      if (page === "compacted") {
        hold?.release();
        if (group.isRestoring) {
          // What is on disk is older than the log that was replaced, or about to be used.
          await group.advanced(group.applied + 1 as LogIndex, signal);
          continue;
        }
        hold = group.holdLog();
        const { index } = yield* sendSnapshot(host, { group, next, hold });
        next = index + 1;
        continue;
      }
      if (page.length === 0) {
        hold?.release();
        await group.advanced(next as LogIndex, signal);
        continue;
      }
      yield {
        index: BigInt(next),
        entries: encodeEntries(page, 0 as Term),
        commit: BigInt(group.committed),
      };
      next += page.length;
      if (hold !== undefined) hold.from = next as LogIndex;
    }
  } finally {
    hold?.release();
  }
}

/**
 * A snapshot in pieces: one that leads on, and behind which no entry is missing. When the newest on
 * disk is none, one is taken.
 */
async function* sendSnapshot(
  host: RaftHost,
  { group, next, hold }: {
    readonly group: GroupOfAny;
    readonly next: number;
    readonly hold: LogHold;
  },
): AsyncGenerator<FollowInit, { readonly index: number }> {
  const leastNow = (): number => Math.max(1, next - 1, group.status().firstIndex - 1);
  const fits = ({ index }: SnapshotMeta): boolean => index <= group.applied;
  const isThere = (): boolean =>
    host.store.list(group.id).some((meta) => meta.index >= leastNow() && fits(meta));
  if (!isThere() && host.lowSpace) {
    throw new CoveyError(
      Code.unavailable,
      "there is no snapshot to begin with, and the disk is too full to take one: follow another node",
    );
  }
  if (!isThere()) await group.takeSnapshot();
  // One that was under way already may have come too late.
  const found = isThere() ? await host.store.read(group.id, leastNow(), fits) : undefined;
  if (found === undefined) {
    throw new CoveyError(Code.unavailable, "there is no snapshot to begin with yet: try again");
  }
  const { reader } = found;
  const { meta } = reader.header;
  hold.from = meta.index + 1 as LogIndex;
  try {
    const { bytes } = reader.source;
    for (let offset = 0; offset < bytes;) {
      const data = (await reader.read(offset)).slice();
      offset += data.length;
      yield { snapshot: { meta: encodeMeta(meta), data, last: offset === bytes } };
    }
  } finally {
    await reader.close();
  }
  return meta;
}
