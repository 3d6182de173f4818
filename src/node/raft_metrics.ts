/**
 * The consensus module's numbers in the node's registry. What belongs to a group is gathered once
 * for each scrape; everything else is read where it is counted.
 */
import type { Family, Instruments, MetricsRegistry } from "../base/metrics.ts";
import type { Cluster } from "../raft/cluster.ts";
import { Role } from "../raft/core/ready.ts";
import type { GroupOfAny } from "../raft/group_types.ts";
import type { RaftHost } from "../raft/host.ts";
import { raftMetrics } from "../raft/metrics.ts";

type RaftInstruments = Instruments<typeof raftMetrics>;
type Labelled = Family<{ value: number }>;

/** Those whose series come and go with groups. */
const ofGroups = [
  "role",
  "leader",
  "term",
  "lastIndex",
  "durableIndex",
  "commitIndex",
  "appliedIndex",
  "snapshotIndex",
  "members",
  "stopped",
  "proposalsPending",
  "readsPending",
  "uncommitted",
  "electionTimeout",
  "leaderChanges",
  "campaigns",
  "elected",
  "resignations",
  "transfersAborted",
  "messagesInvalid",
  "installed",
] as const satisfies readonly (keyof RaftInstruments)[];
/** Those that come and go with other nodes. */
const ofPeers = ["peerConnected", "peerRoundTrip"] as const;

/** `leaderChanges` counts the changes of a group's leader by the group's id. */
export function showRaftMetrics(
  registry: MetricsRegistry,
  cluster: Cluster,
  leaderChanges: ReadonlyMap<number, number>,
): void {
  const shown = registry.declare(raftMetrics);
  showCounters(registry, shown, cluster);
  showDisk(shown, cluster);
  shown.peers.with("connected").source = () => connected(cluster.host);
  shown.peers.with("silent").source = () =>
    (cluster.host?.peers.length ?? 0) - connected(cluster.host);
  registry.onScrape(() => {
    gather(shown, ofGroups, (scrape) => {
      for (const group of cluster.host?.groups ?? []) {
        gatherGroup(scrape, group, leaderChanges.get(group.id) ?? 0);
      }
    });
    gather(shown, ofPeers, (scrape) => {
      for (const peer of cluster.host?.peers ?? []) {
        scrape.add("peerConnected", peer.connected ? 1 : 0, peer.name || peer.nodeId);
        if (peer.roundTripMs.samples === 0) continue;
        scrape.add("peerRoundTrip", peer.roundTripMs.mean / 1000, peer.name || peer.nodeId);
      }
    });
  });
}

function showCounters(registry: MetricsRegistry, shown: RaftInstruments, cluster: Cluster): void {
  const { counters } = cluster;
  for (const link of ["control", "log"] as const) {
    shown.frames.with(link, "sent").source = () => counters[link].framesSent;
    shown.frames.with(link, "received").source = () => counters[link].framesReceived;
    shown.messagesDropped.with(link).source = () => counters[link].messagesDropped;
  }
  shown.proposals.source = () => counters.proposals;
  shown.proposalsFailed.source = () => counters.proposalsFailed;
  counters.onCommit = (seconds) => shown.commit.observe(seconds);
  registry.limit("raft_proposals").source = () => counters.proposalsRefused;
  registry.limit("raft_low_space").source = () => counters.proposalsRefusedForSpace;
  shown.snapshots.with("taken").source = () => counters.snapshotsTaken;
  shown.snapshots.with("sent").source = () => counters.snapshotsSent;
  shown.snapshots.with("unsent").source = () => counters.snapshotsSendFailed;
  shown.snapshots.with("received").source = () => counters.snapshotsReceived;
  shown.snapshotBytes.with("taken").source = () => counters.snapshotsTakenBytes;
  shown.snapshotBytes.with("sent").source = () => counters.snapshotsSentBytes;
  shown.snapshotBytes.with("received").source = () => counters.snapshotsReceivedBytes;
}

function showDisk(shown: RaftInstruments, cluster: Cluster): void {
  const { counters } = cluster;
  shown.logBytes.source = () => cluster.host?.log.written.bytes ?? 0;
  shown.logBatches.source = () => cluster.host?.log.written.batches ?? 0;
  shown.logSegments.with("used").source = () => {
    const segments = cluster.host?.log.segments;
    return segments === undefined ? 0 : segments.newest - segments.oldest + 1;
  };
  shown.logSegments.with("spare").source = () => cluster.host?.log.segments.spares ?? 0;
  shown.diskSync.source = () => (cluster.host?.diskMs.mean ?? 0) / 1000;
  shown.lowSpace.source = () => cluster.host?.lowSpace === true ? 1 : 0;
  shown.descriptorWaits.source = () => counters.descriptorWaits;
  shown.tailRepaired.source = () => counters.isTailRepaired ? 1 : 0;
}

function connected(host: RaftHost | undefined): number {
  return host?.peers.filter((peer) => peer.connected).length ?? 0;
}

/** Adds to series: what shares one, because there are too many, is the sum. */
interface Scrape<Name> {
  add(name: Name, value: number, ...labels: string[]): void;
}

/** Fills some families anew; series that nothing was added to are gone afterwards. */
function gather<Name extends keyof RaftInstruments>(
  shown: RaftInstruments,
  names: readonly Name[],
  fill: (scrape: Scrape<Name>) => void,
): void {
  const touched = new Set<unknown>();
  const family = (name: Name): Labelled => shown[name] as unknown as Labelled;
  for (const name of names) {
    for (const { instrument } of family(name).series()) instrument.value = 0;
  }
  fill({
    add(name, value, ...labels) {
      const instrument = family(name).with(...labels);
      instrument.value += value;
      touched.add(instrument);
    },
  });
  for (const name of names) {
    for (const { values, instrument } of [...family(name).series()]) {
      if (!touched.has(instrument)) family(name).remove(...values);
    }
  }
}

function gatherGroup(
  scrape: Scrape<typeof ofGroups[number]>,
  group: GroupOfAny,
  leaderChanges: number,
): void {
  const { name } = group;
  const status = group.status();
  const { configuration, counters } = status;
  for (const role of Object.values(Role)) {
    scrape.add("role", status.role === role ? 1 : 0, name, roleLabels[role]);
  }
  scrape.add("leader", status.leader, name);
  scrape.add("term", status.term, name);
  scrape.add("lastIndex", status.lastIndex, name);
  scrape.add("durableIndex", status.stableIndex, name);
  scrape.add("commitIndex", status.committed, name);
  scrape.add("appliedIndex", status.applied, name);
  scrape.add("snapshotIndex", status.snapshotIndex, name);
  const { voters, votersOutgoing, learners, learnersNext } = configuration;
  scrape.add("members", voters.length, name, "voter");
  scrape.add("members", learners.length + learnersNext.length, name, "learner");
  scrape.add("members", votersOutgoing.length, name, "outgoing");
  scrape.add("stopped", group.stopped === undefined ? 0 : 1, name);
  scrape.add("proposalsPending", group.pending.proposals, name);
  scrape.add("readsPending", group.pending.reads, name);
  scrape.add("uncommitted", status.uncommittedBytes, name);
  scrape.add("electionTimeout", group.electionTimeoutMs / 1000, name);
  scrape.add("leaderChanges", leaderChanges, name);
  scrape.add("campaigns", counters.campaigns, name);
  scrape.add("elected", counters.elected, name);
  scrape.add("resignations", counters.resignedWithoutQuorum, name, "quorum");
  scrape.add("resignations", counters.resignedForDisk, name, "disk");
  scrape.add("resignations", counters.steppedDownRemoved, name, "removed");
  scrape.add("transfersAborted", counters.transfersAborted, name);
  scrape.add("messagesInvalid", counters.messagesInvalid, name);
  scrape.add("installed", counters.snapshotsRestored, name);
}

const roleLabels: Readonly<Record<Role, string>> = {
  [Role.follower]: "follower",
  [Role.preCandidate]: "pre_candidate",
  [Role.candidate]: "candidate",
  [Role.leader]: "leader",
};
