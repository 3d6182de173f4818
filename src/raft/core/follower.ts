/** What a follower does with its leader's messages (sections 3.5 and 5). */
import { Role } from "./ready.ts";
import type { Replica } from "./replica.ts";
import { type LogIndex, type Message, MessageType, type Term } from "./types.ts";

/** The leader of this term was heard of. */
export function hearLeader(replica: Replica, message: Message): void {
  if (replica.role !== Role.follower || replica.leader !== message.from) {
    replica.becomeFollower(replica.term, message.from);
  }
  replica.restartElectionClock();
}

export function receiveAppend(replica: Replica, message: Message): void {
  const { log } = replica;
  const { index, logTerm, entries } = message;
  if (index < log.committed) {
    // An old one. What is committed is known to be the leader's.
    acknowledge(replica, message, log.committed);
    return;
  }
  const last = log.accept({ index, term: logTerm }, entries);
  if (last === undefined) {
    reject(replica, message);
    return;
  }
  // Beyond `last` this log may differ from the leader's, whatever the leader has committed.
  log.commitTo(Math.min(message.commit, last) as LogIndex);
  acknowledge(replica, message, last);
}

/** The acknowledgement waits for the disk (see needsSync). */
function acknowledge(replica: Replica, message: Message, index: LogIndex): void {
  replica.send({ type: MessageType.appendResponse, to: message.from, index });
}

/** Says where to look next: where this log's term is no higher than that of the refused place. */
function reject(replica: Replica, message: Message): void {
  const { log } = replica;
  const hint = log.lastIndexUpTo(
    Math.min(message.index, log.lastIndex) as LogIndex,
    message.logTerm,
  );
  replica.send({
    type: MessageType.appendResponse,
    to: message.from,
    index: message.index,
    reject: true,
    rejectHint: hint,
    logTerm: log.term(hint) ?? 0 as Term,
  });
}

export function receiveHeartbeat(replica: Replica, message: Message): void {
  // The leader bounds it by what it knows to be equal here; more than that was not meant for us.
  if (message.commit <= replica.log.lastIndex) replica.log.commitTo(message.commit);
  else {
    // It goes by what was acknowledged here: that is gone, or it is no leader of this group.
    replica.missedBy = message.from;
    replica.counters.messagesInvalid++;
  }
  replica.send({ type: MessageType.heartbeatResponse, to: message.from, round: message.round });
}

/** The driver has the snapshot's bytes. If they are not wanted, `Ready.snapshot` stays empty. */
export function receiveSnapshot(replica: Replica, message: Message): void {
  const { log } = replica;
  const snapshot = message.snapshot!;
  if (snapshot.index <= log.committed) {
    acknowledge(replica, message, log.committed);
    return;
  }
  if (log.hasEntry(snapshot.index, snapshot.term)) {
    // The log has all that and maybe more, which may be acknowledged already: it stays.
    log.commitTo(snapshot.index);
    replica.counters.snapshotsFastForwarded++;
    acknowledge(replica, message, log.committed);
    return;
  }
  log.restore(snapshot);
  replica.counters.snapshotsRestored++;
  // Its configuration may lack this replica, if it is older than the change that added it: the
  // entries that follow bring that.
  replica.configurations = [];
  replica.setConfiguration(snapshot.index, snapshot.configuration);
  acknowledge(replica, message, snapshot.index);
}
