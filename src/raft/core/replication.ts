/** A leader brings its log to the others (section 3.5), and counts who has what. */
import { entryBytes } from "./log.ts";
import { type Progress, ProgressState } from "./progress.ts";
import { releaseReads } from "./heartbeats.ts";
import type { Replica } from "./replica.ts";
import { sendTimeoutNow } from "./transfer.ts";
import { type Entry, type LogIndex, type Message, MessageType, type ReplicaId } from "./types.ts";

/** Appends to the leader's own log; others get it when the next `Ready` is made. */
export function appendOwn(
  replica: Replica,
  proposed: readonly Pick<Entry, "type" | "data">[],
): LogIndex {
  let index: number = replica.log.lastIndex;
  const entries = proposed.map(({ type, data }): Entry => ({
    term: replica.term,
    index: ++index as LogIndex,
    type,
    data,
  }));
  replica.log.append(entries);
  for (const entry of entries) replica.uncommittedBytes += entry.data.length;
  replica.replicationDue = true;
  return index as LogIndex;
}

/** Sends what is due to everybody; called when a `Ready` is made. */
export function flushReplication(replica: Replica): void {
  if (!replica.isLeader || !replica.replicationDue) return;
  replica.replicationDue = false;
  replica.commitNews = false;
  for (const id of replica.tracker.ids) {
    if (id !== replica.id) replicateTo(replica, replica.tracker.get(id)!);
  }
  replica.announceCommit = false;
}

/**
 * What is sent to one follower at once. One that is far behind has room for a whole window, and
 * making that takes a tenth of a second, for which everybody else would wait; each acknowledgement
 * lets more out.
 */
const burstEntries = 1000;
const burstBytes = 4 << 20;

/** As many appends as the window takes, and one at least if one is owed or the commit is news. */
function replicateTo(replica: Replica, progress: Progress): void {
  const isNews = progress.state === ProgressState.replicate &&
    Math.min(replica.log.committed, progress.next - 1) > progress.sentCommit;
  const isTold = isNews && (!replica.options.lazyCommits || replica.announceCommit);
  let mayBeEmpty = progress.owesAppend || isTold;
  let isSent = false;
  const { inflights } = progress;
  const lastEntry = progress.next + burstEntries;
  const lastByte = inflights.bytes + burstBytes;
  while (
    progress.next < lastEntry && inflights.bytes < lastByte &&
    sendAppend(replica, progress, mayBeEmpty)
  ) {
    mayBeEmpty = false;
    isSent = true;
  }
  if (isNews && !isSent && !progress.isPaused()) replica.commitNews = true;
}

function sendAppend(replica: Replica, progress: Progress, mayBeEmpty: boolean): boolean {
  if (progress.awaitsSnapshot) return sendSnapshot(replica, progress);
  if (progress.isPaused()) return false;
  const { log } = replica;
  const previous = progress.next - 1 as LogIndex;
  const previousTerm = log.term(previous);
  if (previousTerm === undefined || progress.next < log.firstIndex) {
    return sendSnapshot(replica, progress);
  }
  // A full window still lets an empty append through: it finds out that everything was lost.
  const isBare = progress.isRepeat ||
    (progress.state === ProgressState.replicate && progress.inflights.isFull());
  const entries = isBare
    ? noEntries
    : log.slice(progress.next, log.lastIndex, replica.options.appendBytesMax);
  if (entries.length === 0 && !mayBeEmpty) return false;
  replica.send({
    type: MessageType.append,
    to: progress.id,
    index: previous,
    logTerm: previousTerm,
    entries,
    commit: log.committed,
  });
  let bytes = 0;
  for (const entry of entries) bytes += entryBytes(entry);
  progress.sent(entries.length, bytes, replica.ticks);
  progress.owesAppend = false;
  progress.sentCommit = Math.min(log.committed, previous + entries.length) as LogIndex;
  return true;
}

/**
 * A follower that nobody hears of gets none: it would be sent again and again. When entries behind
 * the stored snapshot are gone the follower waits for a newer one, which the driver takes.
 */
function sendSnapshot(replica: Replica, progress: Progress): boolean {
  if (!progress.recentActive) return false;
  const { snapshot, isSnapshotUseful } = replica.log;
  progress.owesAppend = false;
  if (!isSnapshotUseful) {
    if (!progress.awaitsSnapshot) progress.awaitSnapshot();
    return false;
  }
  replica.send({ type: MessageType.snapshot, to: progress.id, snapshot });
  progress.becomeSnapshot(snapshot.index);
  replica.counters.snapshotsSent++;
  return true;
}

/** Whether a follower that is there waits for a snapshot that has to be made. */
export function wantsSnapshot({ isLeader, log, tracker }: Replica): boolean {
  if (!isLeader || log.isSnapshotUseful) return false;
  return tracker.ids.some((id) => {
    const progress = tracker.get(id)!;
    return progress.awaitsSnapshot && progress.isThere;
  });
}

/** The stored snapshot is a new one: who waits for it is due. */
export function offerSnapshot({ isLeader, tracker }: Replica): boolean {
  return isLeader && tracker.ids.some((id) => tracker.get(id)!.awaitsSnapshot);
}

/**
 * The first entry, not before `least`, that a follower which is there has yet to be sent or may have
 * to be sent again; the one behind the log's end when there is none. Who is farther behind gets a
 * snapshot, and needs what comes after that.
 */
export function neededFrom(replica: Replica, least: LogIndex): LogIndex {
  const { log, tracker } = replica;
  let needed: number = log.lastIndex + 1;
  if (!replica.isLeader) return needed as LogIndex;
  const first = Math.max(least, log.firstIndex);
  const bySnapshot = log.snapshot.index + 1;
  for (const id of tracker.ids) {
    const progress = tracker.get(id)!;
    // A transfer takes its time; the driver says when it has come to nothing.
    if (id === replica.id || !(progress.isThere || progress.pendingSnapshot > 0)) continue;
    const known = Math.max(progress.match, progress.pendingSnapshot) + 1;
    // Where it is asked; after a snapshot that is where it ended.
    const asked = progress.state === ProgressState.probe ? progress.next : needed;
    for (const from of known >= first ? [known] : [asked, bySnapshot]) {
      if (from >= first && from < needed) needed = from;
    }
  }
  return needed as LogIndex;
}

export function receiveAppendResponse(replica: Replica, message: Message): void {
  const progress = replica.tracker.get(message.from);
  if (progress === undefined) return;
  progress.recentActive = true;
  replica.replicationDue = true;
  if (message.reject) receiveRejection(replica, progress, message);
  else receiveAcknowledgement(replica, progress, message.index);
}

/**
 * The follower's hint is the last index at which its term is no higher than ours; at which ours is
 * no higher than its hint's is the next place worth trying. So each probe skips a whole term.
 */
function receiveRejection(replica: Replica, progress: Progress, message: Message): void {
  const hint = replica.log.lastIndexUpTo(message.rejectHint, message.logTerm);
  if (!progress.refused(message.index, hint)) return;
  if (progress.state === ProgressState.replicate) progress.becomeProbe();
  progress.owesAppend = true;
}

function receiveAcknowledgement(replica: Replica, progress: Progress, index: LogIndex): void {
  // Nobody has more than its leader: such an answer is not one to this leader's appends.
  if (index > replica.log.lastIndex) {
    replica.counters.messagesInvalid++;
    return;
  }
  const isNews = progress.acknowledged(index);
  if (!isNews && !(progress.match === index && progress.state === ProgressState.probe)) return;
  if (!isNews && progress.isRepeat && index < replica.log.lastIndex) {
    progress.repeatAnswered();
    return;
  }
  if (progress.state === ProgressState.probe) progress.becomeReplicate();
  else if (progress.state === ProgressState.replicate) progress.inflights.freeUpTo(index);
  else if (progress.match + 1 >= replica.log.firstIndex) {
    // Whichever way it came back, the log reaches it again; the snapshot is not needed.
    progress.becomeReplicate();
  }
  advanceCommit(replica);
  if (progress.id === replica.transferee && progress.match === replica.log.lastIndex) {
    sendTimeoutNow(replica, progress.id);
  }
}

export function receiveHeartbeatResponse(replica: Replica, message: Message): void {
  const progress = replica.tracker.get(message.from);
  if (progress === undefined) return;
  progress.recentActive = true;
  const { electionTicks, heartbeatTicks } = replica.options;
  const limits = { repeatTicks: electionTicks, nudgeTicks: heartbeatTicks };
  const isBehind = progress.match < replica.log.lastIndex ||
    progress.state === ProgressState.probe;
  if (progress.awaitsSnapshot) replica.replicationDue = true;
  if (isBehind && progress.answeredHeartbeat(replica.ticks, limits)) {
    // What is under way may be lost; an append that arrives tells.
    progress.owesAppend = true;
    replica.replicationDue = true;
  }
  if (message.round > progress.roundAcked && message.round <= replica.reads.round) {
    progress.roundAcked = message.round;
    releaseReads(replica);
  }
}

/**
 * Only an entry of the leader's own term is committed by counting (section 3.6.2, figure 3.7);
 * everything before it follows.
 */
export function advanceCommit(replica: Replica): boolean {
  const { log, tracker } = replica;
  const index = Math.min(tracker.quorumIndex(), log.lastIndex) as LogIndex;
  if (index <= log.committed || log.term(index) !== replica.term) return false;
  for (let at = log.committed + 1; at <= index; at++) {
    const entry = log.entry(at as LogIndex);
    if (entry?.term === replica.term) replica.uncommittedBytes -= entry.data.length;
  }
  log.commitTo(index);
  replica.replicationDue = true;
  resignIfRemoved(replica);
  return true;
}

/**
 * A leader that is no voter goes as soon as all that it has is committed, and not before: with a
 * longer log than the others it would refuse them its vote, which they count on until they know
 * that it has none. It resigns when its last messages are made.
 */
export function resignIfRemoved(replica: Replica): void {
  const { log, tracker, options } = replica;
  if (tracker.isVoter(replica.id)) return;
  if (!options.stepDownOnRemoval && !replica.leadsAsCaretaker) return;
  if (log.committed === log.lastIndex) replica.stepDownDue = true;
}

/** The leader's own disk has acknowledged. */
export function receiveOwnProgress(replica: Replica): void {
  const own = replica.tracker.get(replica.id);
  if (own === undefined || !own.acknowledged(replica.log.durability.stableIndex)) return;
  advanceCommit(replica);
}

/** The driver could not reach a follower: what is under way to it is most likely lost. */
export function receiveUnreachable(replica: Replica, id: ReplicaId): void {
  if (replica.isLeader) replica.tracker.get(id)?.lost();
}

/** The driver has sent a snapshot, or could not. Either way the next heartbeat's answer resumes. */
export function receiveSnapshotStatus(replica: Replica, id: ReplicaId, arrived: boolean): void {
  const progress = replica.tracker.get(id);
  if (!replica.isLeader || progress?.state !== ProgressState.snapshot) return;
  if (arrived) progress.becomeProbe();
  else progress.snapshotFailed();
  progress.paused = true;
  progress.resumesAtHeartbeat = true;
}

const noEntries: readonly Entry[] = Object.freeze([]);
