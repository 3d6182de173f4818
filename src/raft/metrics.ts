/** The table of the consensus module, from which the reference is generated. */

/** A node keeps few groups; what is beyond shares one series, in which they are added up. */
const groupsMax = 64;
/** Other nodes that are shown apart. */
const peersMax = 64;

export const raftMetrics = {
  // Each group, by its name; that of the key-value store is `kv`.
  role: {
    name: "covey_raft_role",
    unit: "boolean",
    help: "1 for the role that this node's replica has in the group, 0 for the others.",
    kind: "gauge",
    labels: ["group", "role"],
    seriesMax: 4 * groupsMax,
  },
  leader: {
    name: "covey_raft_leader",
    unit: "replica",
    help: "The replica that leads, as far as this node knows; 0 for none.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  term: {
    name: "covey_raft_term",
    unit: "term",
    help: "The term of this node's replica.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  lastIndex: {
    name: "covey_raft_last_index",
    unit: "index",
    help: "The newest entry of the log here, written or not.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  durableIndex: {
    name: "covey_raft_durable_index",
    unit: "index",
    help: "The newest entry that a power loss here would not take.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  commitIndex: {
    name: "covey_raft_commit_index",
    unit: "index",
    help: "The newest entry that is known to be on a majority's disks.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  appliedIndex: {
    name: "covey_raft_applied_index",
    unit: "index",
    help: "The newest entry that the machine here has applied.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  snapshotIndex: {
    name: "covey_raft_snapshot_index",
    unit: "index",
    help: "The newest entry that the newest snapshot here holds.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  members: {
    name: "covey_raft_members",
    unit: "replicas",
    help: "Replicas in the configuration that is applied here: voters, learners, and outgoing " +
      "voters of a change that is under way.",
    kind: "gauge",
    labels: ["group", "kind"],
    seriesMax: 3 * groupsMax,
  },
  stopped: {
    name: "covey_raft_stopped",
    unit: "boolean",
    help: "1 when the group cannot go on here until somebody sees to it: look at the log.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  proposalsPending: {
    name: "covey_raft_proposals_pending",
    unit: "proposals",
    help: "Commands that wait here until they are applied.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  readsPending: {
    name: "covey_raft_reads_pending",
    unit: "reads",
    help: "Linearizable reads that wait here until the machine is far enough.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  uncommitted: {
    name: "covey_raft_uncommitted_bytes",
    unit: "bytes",
    help:
      "Entries that this leader has taken and no majority has yet; raft.uncommitted_bytes_max " +
      "bounds them.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  electionTimeout: {
    name: "covey_raft_election_timeout_seconds",
    unit: "seconds",
    help: "The election timeout in force: raft.election_timeout, stretched to what round trips " +
      "and the disk need.",
    kind: "gauge",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  leaderChanges: {
    name: "covey_raft_leader_changes_total",
    unit: "changes",
    help: "How often another replica was found to lead than before.",
    kind: "counter",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  campaigns: {
    name: "covey_raft_campaigns_total",
    unit: "campaigns",
    help: "Elections that this node's replica began; asking around beforehand (pre-vote) counts.",
    kind: "counter",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  elected: {
    name: "covey_raft_elections_won_total",
    unit: "elections",
    help: "Elections that this node's replica won.",
    kind: "counter",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  resignations: {
    name: "covey_raft_resignations_total",
    unit: "resignations",
    help: "How often this node gave leadership up by itself: quorum (no majority answered), disk " +
      "(its disk stood still), removed (it is no voter any more).",
    kind: "counter",
    labels: ["group", "reason"],
    seriesMax: 3 * groupsMax,
  },
  transfersAborted: {
    name: "covey_raft_transfers_aborted_total",
    unit: "transfers",
    help: "Transfers of leadership that came to nothing within an election timeout.",
    kind: "counter",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  messagesInvalid: {
    name: "covey_raft_messages_invalid_total",
    unit: "messages",
    help: "Messages that no correct replica sends; they are ignored.",
    kind: "counter",
    labels: ["group"],
    seriesMax: groupsMax,
  },
  installed: {
    name: "covey_raft_snapshots_installed_total",
    unit: "snapshots",
    help: "Snapshots of a leader that took the place of the log here.",
    kind: "counter",
    labels: ["group"],
    seriesMax: groupsMax,
  },

  // All groups of the node together.
  proposals: {
    name: "covey_raft_proposals_total",
    unit: "proposals",
    help: "Commands taken for the log of a group that this node led.",
    kind: "counter",
  },
  proposalsFailed: {
    name: "covey_raft_proposals_failed_total",
    unit: "proposals",
    help: "Commands of those taken whose proposer was told of an error, or had left.",
    kind: "counter",
  },
  commit: {
    name: "covey_raft_commit_seconds",
    unit: "seconds",
    help:
      "From a proposal at the leader until it is applied there; one proposal in 16 is measured.",
    kind: "histogram",
  },
  snapshots: {
    name: "covey_raft_snapshots_total",
    unit: "snapshots",
    help:
      "Snapshots taken here, sent to followers, not sent to the end, and received from leaders.",
    kind: "counter",
    labels: ["event"],
  },
  snapshotBytes: {
    name: "covey_raft_snapshot_bytes_total",
    unit: "bytes",
    help: "Bytes of snapshots taken here, sent and received.",
    kind: "counter",
    labels: ["event"],
  },

  // The log on disk.
  logBytes: {
    name: "covey_raft_log_written_bytes_total",
    unit: "bytes",
    help: "Bytes that went to the log's segments.",
    kind: "counter",
  },
  logBatches: {
    name: "covey_raft_log_batches_total",
    unit: "batches",
    help: "Batches written to the log, each with one sync of the disk.",
    kind: "counter",
  },
  logSegments: {
    name: "covey_raft_log_segments",
    unit: "segments",
    help: "Segment files that hold the log, and spare ones that wait to be used again.",
    kind: "gauge",
    labels: ["kind"],
  },
  diskSync: {
    name: "covey_raft_disk_sync_seconds",
    unit: "seconds",
    help:
      "What writing a batch and syncing it takes of late, smoothed; election timeouts follow it.",
    kind: "gauge",
  },
  lowSpace: {
    name: "covey_raft_low_space",
    unit: "boolean",
    help: "1 while the disk has less room than raft.low_water_bytes: writes are refused here.",
    kind: "gauge",
  },
  descriptorWaits: {
    name: "covey_raft_descriptor_waits_total",
    unit: "openings",
    help: "Files of the log and its snapshots that could not be opened at once, because the " +
      "process or the system had no descriptor left.",
    kind: "counter",
  },
  tailRepaired: {
    name: "covey_raft_log_tail_repaired",
    unit: "boolean",
    help: "1 when the log's end had been torn by a crash and was cut off at this start.",
    kind: "gauge",
  },

  // Other nodes.
  peers: {
    name: "covey_raft_peers",
    unit: "nodes",
    help: "Other nodes that share a group with this one, by whether a link to them stands.",
    kind: "gauge",
    labels: ["state"],
  },
  peerConnected: {
    name: "covey_raft_peer_connected",
    unit: "boolean",
    help: "1 while a control link to that node stands.",
    kind: "gauge",
    labels: ["peer"],
    seriesMax: peersMax,
  },
  peerRoundTrip: {
    name: "covey_raft_peer_round_trip_seconds",
    unit: "seconds",
    help: "Smoothed round trip to that node and back, over the control link.",
    kind: "gauge",
    labels: ["peer"],
    seriesMax: peersMax,
  },
  frames: {
    name: "covey_raft_frames_total",
    unit: "frames",
    help:
      "Frames between nodes: control has votes and heartbeats, log has appends and their answers.",
    kind: "counter",
    labels: ["link", "direction"],
  },
  messagesDropped: {
    name: "covey_raft_messages_dropped_total",
    unit: "messages",
    help: "Messages given up because a link took nothing; Raft sends anew what matters.",
    kind: "counter",
    labels: ["link"],
  },
} as const;
