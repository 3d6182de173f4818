/** The schemas of all answers. Loaded with the OpenAPI document only. */
import * as z from "npm:zod@4.6.7";
import type {
  KvChange,
  KvChangeData,
  KvDeleteReport,
  KvEntryReport,
  KvLeasesReport,
  KvPutReport,
  KvRangeReport,
  KvReport,
} from "./kv_schema.ts";
import type { KickReport, MemberReport, MembershipReport } from "./membership_schema.ts";
import type {
  DoneReport,
  RaftAddReport,
  RaftGroupReport,
  RaftLogReport,
  RaftPeerReport,
  RaftPeersReport,
  RaftReport,
  RaftSnapshotReport,
  RaftTransferReport,
} from "./raft_schema.ts";
import type {
  CheckReport,
  ConfigReport,
  ErrorReport,
  LiveReport,
  OpenApiDocument,
  ReadyReport,
  ServiceReport,
  StatusReport,
  TopicReport,
} from "./schema.ts";
import { type NamedSchema, shape } from "./shape.ts";

const text = z.string();
const count = z.int().nonnegative();
/** Whatever JSON there is. */
const json = z.any();
const object = z.record(text, json);

export const error = shape<ErrorReport>("Error")(z.object({
  code: text.describe("gRPC's name of what went wrong."),
  message: text,
  hint: text.describe("What to do about it.").optional(),
}));

export const live = shape<LiveReport>("Live")(z.object({ alive: z.literal(true) }));

const checkSchema = z.object({
  name: text,
  ready: z.boolean(),
  reason: text.describe("Why it is not.").optional(),
  note: text.describe("What is wrong although it is ready.").optional(),
});
export const check = shape<CheckReport>("Check")(checkSchema);

export const ready = shape<ReadyReport>("Ready")(z.object({
  ready: z.boolean(),
  failing: z.array(text).describe("The names of the checks that failed.").optional(),
  checks: z.array(checkSchema).describe("Each check, where verbose asks for them.").optional(),
}));

const serviceSchema = z.object({
  name: text,
  methods: z.array(z.object({
    name: text,
    kind: z.enum(["unary", "server_streaming", "client_streaming", "bidi_streaming"]),
  })),
});
export const service = shape<ServiceReport>("Service")(serviceSchema);

const topicSchema = z.object({ name: text, help: text });
export const topic = shape<TopicReport>("Topic")(topicSchema);

export const status = shape<StatusReport>("Status")(z.object({
  name: text,
  nodeId: text.describe("32 hexadecimal digits."),
  version: text,
  runtime: z.object({ name: text, version: text, architecture: text }),
  pid: count,
  uptimeMs: count,
  memory: z.object({ rssBytes: count, heapUsedBytes: count, heapTotalBytes: count }),
  listeners: z.record(text, text).describe("What listens where."),
  modules: z.record(text, object).describe("What each module says about itself."),
  services: z.array(serviceSchema),
  topics: z.array(topicSchema),
}));

export const config = shape<ConfigReport>("Config")(z.object({
  settings: z.array(z.object({
    key: text,
    value: json,
    origin: text.describe("Where the value comes from."),
  })),
}));

export const openApi = shape<OpenApiDocument>("OpenApi")(z.object({
  openapi: z.literal("3.1.0"),
  info: object,
  servers: z.array(object),
  paths: z.record(text, object),
  components: object,
}));

const groupSchema = z.object({
  group: count.describe("0 is the key-value store's."),
  name: text,
  replica: count.describe("This node's."),
  role: z.enum(["follower", "pre-candidate", "candidate", "leader", "unknown"]),
  term: count,
  leader: count.describe("The replica that leads; 0 for none."),
  firstIndex: count,
  lastIndex: count,
  stableIndex: count.describe("Durable on this node's disk."),
  commitIndex: count,
  appliedIndex: count,
  snapshotIndex: count,
  uncommittedBytes: count,
  proposalsPending: count,
  readsPending: count,
  electionTimeoutMs: count,
  voters: z.array(count),
  votersOutgoing: z.array(count),
  learners: z.array(count),
  learnersNext: z.array(count),
  stopped: text.describe(
    "Why the group does not go on here until the node is started again; absent while it does.",
  ).optional(),
});
export const raftGroup = shape<RaftGroupReport>("RaftGroup")(groupSchema);

const logSchema = z.object({
  oldestSegment: count,
  newestSegment: count,
  batches: count,
  bytesWritten: count,
  lowSpace: z.boolean().describe("The disk is nearly full: writes are refused."),
});
export const raftLog = shape<RaftLogReport>("RaftLog")(logSchema);

export const raft = shape<RaftReport>("Raft")(z.object({
  clusterId: text.describe("Empty while the node is part of no cluster."),
  nodeId: text,
  groups: z.array(groupSchema),
  log: logSchema.optional(),
}));

const peerSchema = z.object({
  replica: count,
  name: text,
  nodeId: text,
  address: text.describe("Where other nodes dial it."),
  suffrage: z.enum(["voter", "learner", "learner next", "voter leaving", "unknown"]),
  leader: z.boolean(),
  matchIndex: count.describe("Only from the leader, as are active and progress.").optional(),
  active: z.boolean().optional(),
  progress: text.describe("probe, replicate or snapshot.").optional(),
  roundTripMs: z.number().describe("Measured by the node that answered.").optional(),
});
export const raftPeer = shape<RaftPeerReport>("RaftPeer")(peerSchema);

export const raftPeers = shape<RaftPeersReport>("RaftPeers")(z.object({
  clusterId: text,
  term: count,
  leader: count.describe("0 for none."),
  peers: z.array(peerSchema),
}));

export const raftAdded = shape<RaftAddReport>("RaftAdded")(z.object({ peer: peerSchema }));
export const done = shape<DoneReport>("Done")(z.object({}));
export const raftLeader = shape<RaftTransferReport>("RaftLeader")(
  z.object({ leader: count.describe("Who leads now.") }),
);
export const raftSnapshot = shape<RaftSnapshotReport>("RaftSnapshot")(
  z.object({ index: count, term: count, bytes: count }),
);

const values = z.record(
  text,
  z.union([text, z.object({ base64: text.meta({ contentEncoding: "base64" }) })]),
);
const memberSchema = z.object({
  name: text,
  address: text.describe("Where other nodes dial it."),
  nodeId: text,
  incarnation: text.describe("Of this stay: 16 hexadecimal digits."),
  role: z.enum(["core", "leaf"]),
  metadata: values.describe("Fixed when it joined.").optional(),
  facts: values.describe("What it says of itself now.").optional(),
});
export const member = shape<MemberReport>("Member")(memberSchema);

export const membership = shape<MembershipReport>("Membership")(z.object({
  state: z.enum(["waiting", "joining", "member", "left", "unknown"]),
  problem: text.describe("Why it is no member, or cannot follow who is there.").optional(),
  clusterId: text.describe("Empty while no cluster is known."),
  epoch: count.describe("The number of the view that the node was in last; 0 before the first."),
  digest: text.describe("With the epoch it says which view this is: 16 hexadecimal digits."),
  members: z.array(memberSchema),
}));

export const kicked = shape<KickReport>("Kicked")(z.object({ member: memberSchema }));

export const kv = shape<KvReport>("Kv")(z.object({
  clusterId: text,
  replica: count.describe("Of the node that answered."),
  revision: count,
  term: count,
  leader: count.describe("The replica that leads; 0 for none."),
  version: text,
  bytes: count.describe("What counts towards the quota."),
  bytesMax: count.describe("The quota."),
  historyBytes: count.describe("The part that a compaction could free."),
  memoryBytes: count.describe("What keys and values take in memory."),
  raftIndex: count,
  appliedIndex: count,
  compactRevision: count,
  keys: count,
  leases: count,
  sessions: count,
  watches: count.describe("On this node."),
  errors: z.array(text).describe("What is wrong: NOSPACE, RESTORING, no leader, stopped."),
}));

const base64 = text.meta({ contentEncoding: "base64" });
const entrySchema = z.object({
  key: text.describe("Where it is UTF-8.").optional(),
  keyBase64: base64.describe("Where it is not.").optional(),
  value: text.optional(),
  valueBase64: base64.optional(),
  createRevision: count,
  modRevision: count,
  version: count.describe("Puts since the key was created."),
  lease: count.describe("0 for none."),
});
export const kvEntry = shape<KvEntryReport>("KvEntry")(entrySchema);

export const kvRange = shape<KvRangeReport>("KvRange")(z.object({
  revision: count,
  count: count.describe("Keys in the interval, whatever the limit says."),
  more: z.boolean().describe("The limit left some out."),
  entries: z.array(entrySchema),
}));

export const kvPut = shape<KvPutReport>("KvPut")(
  z.object({ revision: count, previous: entrySchema.optional() }),
);
export const kvDelete = shape<KvDeleteReport>("KvDelete")(
  z.object({ revision: count, deleted: count, previous: entrySchema.optional() }),
);
export const kvLeases = shape<KvLeasesReport>("KvLeases")(
  z.object({ revision: count, leases: z.array(z.object({ id: count })) }),
);

const changeSchema = z.object({
  type: z.enum(["put", "delete"]),
  entry: entrySchema,
  previous: entrySchema.optional(),
});
export const kvChange = shape<KvChange>("KvChange")(changeSchema);
export const kvChanges = shape<KvChangeData>("KvChanges")(z.object({
  revision: count,
  events: z.array(changeSchema),
  more: z.literal(true).describe("More of this revision follows.").optional(),
}));

/** All of them, as the document lists them. */
export const shapes: readonly NamedSchema[] = [
  check,
  config,
  done,
  error,
  kicked,
  kv,
  kvChange,
  kvChanges,
  kvDelete,
  kvEntry,
  kvLeases,
  kvPut,
  kvRange,
  live,
  member,
  membership,
  openApi,
  raft,
  raftAdded,
  raftGroup,
  raftLeader,
  raftLog,
  raftPeer,
  raftPeers,
  raftSnapshot,
  ready,
  service,
  status,
  topic,
];
