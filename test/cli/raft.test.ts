/** `covey raft …` and `covey status` against a node that answers what the test says. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Code, CoveyError } from "../../src/base/error.ts";
import { Maintenance } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { Node } from "../../src/gen/covey/node/v1/node_pb.ts";
import { Raft, Role, Suffrage } from "../../src/gen/covey/raft/v1/raft_pb.ts";
import type { Handlers } from "../../src/ttrpc/service.ts";
import type { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { answering, covey, type FakeNode, objects, withServices } from "./node_support.ts";

type RaftHandlers = Handlers<typeof Raft>;

const nodeId = "0123456789abcdef0123456789abcdef";
const clusterId = "fedcba9876543210fedcba9876543210";

const peers: Awaited<ReturnType<RaftHandlers["peers"]>> = {
  clusterId,
  leader: 1n,
  term: 4n,
  peers: [
    {
      replica: 1n,
      name: "gw-1",
      nodeId,
      address: "tcp://127.0.0.1:1",
      suffrage: Suffrage.VOTER,
      leader: true,
      matchIndex: 12n,
      active: true,
      progress: "replicate",
    },
    {
      replica: 2n,
      name: "gw-2",
      nodeId,
      address: "tcp://127.0.0.1:2",
      suffrage: Suffrage.LEARNER,
      matchIndex: 3n,
      progress: "probe",
      roundTripMillis: 1.25,
    },
  ],
};

const group = {
  group: 0,
  name: "kv",
  replica: 1n,
  role: Role.LEADER,
  term: 4n,
  leader: 1n,
  firstIndex: 1n,
  lastIndex: 13n,
  stableIndex: 13n,
  commitIndex: 12n,
  appliedIndex: 12n,
  uncommittedBytes: 2048n,
  electionTimeoutMillis: 500n,
  voters: [1n],
  learners: [2n],
};

/** What the node was asked last. */
interface Asked {
  last?: unknown;
}

function handlers(asked: Asked, change: Partial<RaftHandlers>): RaftHandlers {
  const note = <T>(answer: T) => (request: unknown) => {
    asked.last = request;
    return answer;
  };
  return answering<RaftHandlers>({
    peers: note(peers),
    add: note({ peer: { ...peers.peers?.[1], replica: 3n, name: "gw-3" } }),
    promote: note({}),
    remove: note({}),
    transfer: note({ leader: 2n }),
    snapshot: note({ index: 12n, term: 4n, bytes: 1536n }),
    status: note({
      clusterId,
      nodeId,
      groups: [group],
      log: { oldestSegment: 1n, newestSegment: 3n, batches: 9n, bytesWritten: 5_000_000n },
    }),
    ...change,
  });
}

async function withRaft(
  body: (node: FakeNode, asked: Asked) => Promise<void>,
  change: Partial<RaftHandlers> = {},
  more: (registry: ServiceRegistry) => void = () => {},
): Promise<void> {
  const asked: Asked = {};
  await withServices((registry) => {
    registry.add(Raft, handlers(asked, change));
    more(registry);
  }, (node) => body(node, asked));
}

test("raft peers: a table, and JSON without what is not known", () =>
  withRaft(async ({ data }) => {
    const { code, stdout, stderr } = await covey(["raft", "peers", "--data", data]);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(
      stdout,
      [
        `REPLICA  NAME  ROLE     ADDRESS            MATCH  PROGRESS       ROUND TRIP  NODE`,
        `1        gw-1  leader   tcp://127.0.0.1:1  12     replicate                  ${nodeId}`,
        `2        gw-2  learner  tcp://127.0.0.1:2  3      probe, silent  1.3 ms      ${nodeId}\n`,
      ].join("\n"),
    );
    const json = await covey(["raft", "peers", "--data", `${data}/`, "--json"]);
    assert.deepEqual(objects(json), [
      {
        replica: 1,
        name: "gw-1",
        nodeId,
        address: "tcp://127.0.0.1:1",
        suffrage: "voter",
        leader: true,
        matchIndex: 12,
        active: true,
        progress: "replicate",
      },
      {
        replica: 2,
        name: "gw-2",
        nodeId,
        address: "tcp://127.0.0.1:2",
        suffrage: "learner",
        leader: false,
        matchIndex: 3,
        active: false,
        progress: "probe",
        roundTripMs: 1.25,
      },
    ]);
  }));

test("raft add, promote, transfer, snapshot", () =>
  withRaft(async ({ data }, asked) => {
    const raft = (...args: string[]) => covey(["raft", ...args, "--data", data]);
    const added = await raft("add", "tcp://127.0.0.1:3", "--learner", "--node-id", nodeId);
    assert.deepEqual([added.code, added.stdout], [0, "3\n"]);
    assert.match(added.stderr, /tcp:\/\/127\.0\.0\.1:3 is replica 3, gw-3; it stays a learner/);
    assert.partialDeepStrictEqual(asked.last, {
      address: "tcp://127.0.0.1:3",
      learner: true,
      nodeId,
      group: 0,
    });
    const promoted = await raft("promote", "gw-2", "--json");
    assert.deepEqual(objects(promoted), [{ replica: 2, suffrage: "voter" }]);
    assert.partialDeepStrictEqual(asked.last, { replica: 2n });
    const moved = await raft("transfer", "2", "--group", "7");
    assert.deepEqual([moved.code, moved.stdout], [0, "2\n"]);
    assert.partialDeepStrictEqual(asked.last, { replica: 2n, group: 7 });
    await raft("transfer");
    assert.partialDeepStrictEqual(asked.last, { replica: 0n, group: 0 });
    assert.equal((await raft("snapshot")).stdout, "index 12, term 4, 1.5 KiB\n");
    assert.deepEqual(objects(await raft("snapshot", "--json")), [
      { index: 12, term: 4, bytes: 1536 },
    ]);
  }));

test("raft remove asks on a terminal, and needs --yes without one", () =>
  withRaft(async ({ data }, asked) => {
    const remove = ["raft", "remove", "2", "--data", data];
    const bare = await covey(remove);
    assert.equal(bare.code, 2);
    assert.match(bare.stderr, /^covey: nothing was removed: without a terminal .* --yes/);
    assert.ok(!isRemoval(asked.last));
    const script = await covey([...remove, "--yes"]);
    assert.equal(script.code, 0, script.stderr);
    assert.equal(
      script.stderr,
      "covey: replica 2, gw-2 is removed; the node there may be stopped\n",
    );
    asked.last = undefined;
    const other = await covey(remove, { terminals: ["stdin"], input: "yes\n" });
    assert.equal(other.code, 2);
    assert.match(other.stderr, /Type gw-2 to go on: covey: nothing was removed\n$/);
    assert.ok(!isRemoval(asked.last), "it was asked who there is, and no more");
    for (const input of ["", "gw-2"]) {
      assert.equal((await covey(remove, { terminals: ["stdin"], input })).code, 2, "no line end");
    }
    const typed = await covey(remove, { terminals: ["stdin"], input: "gw-2\n" });
    assert.equal(typed.code, 0);
    assert.ok(isRemoval(asked.last));
    const sure = await covey([...remove, "--yes", "--json"], { terminals: ["stdin"] });
    assert.deepEqual(objects(sure), [{ removed: 2 }]);
  }));

function isRemoval(request: unknown): boolean {
  return (request as { $typeName?: string } | undefined)?.$typeName ===
    "covey.raft.v1.RemoveRequest";
}

test("raft: a replica that there is not", () =>
  withRaft(async ({ data }) => {
    const cases: [string, string][] = [
      ["9", 'there is no replica "9"; there are 1 (gw-1), 2 (gw-2)'],
      ["gw-22", 'there is no replica "gw-22"; did you mean gw-2?'],
    ];
    for (const [name, message] of cases) {
      const { code, stderr } = await covey(["raft", "remove", name, "--yes", "--data", data]);
      assert.deepEqual([code, stderr], [1, `covey: ${message} (not_found)\n`]);
    }
    const bad = await covey(["raft", "add", "127.0.0.1:3", "--data", data]);
    assert.deepEqual([bad.code, bad.stdout], [2, ""]);
    assert.match(
      bad.stderr,
      /unknown or missing scheme; .*; did you mean tcp:\/\/127\.0\.0\.1:3\?/,
    );
    const negative = await covey(["raft", "peers", "--group", "-1", "--data", data]);
    assert.match(negative.stderr, /^covey: --group "-1": give a whole number, 0 to 4294967295\n/);
  }));

test("raft: two nodes of one name", () =>
  withRaft(async ({ data }) => {
    const { code, stderr } = await covey(["raft", "promote", "gw", "--data", data]);
    assert.equal(code, 2);
    assert.match(stderr, /^covey: replicas 1 and 2 are both named "gw"; give the number\n/);
  }, { peers: () => ({ peers: [{ replica: 1n, name: "gw" }, { replica: 2n, name: "gw" }] }) }));

test("raft status: a table and JSON; a group that is not here", () =>
  withRaft(async ({ data }) => {
    const shown = await covey(["raft", "status", "--data", data]);
    assert.equal(
      shown.stdout,
      [
        `cluster           ${clusterId}`,
        `node              ${nodeId}`,
        "disk              segments 1 to 3, 4.8 MiB written in 9 batches",
        "",
        "group             0 (kv)",
        "role              leader, replica 1",
        "leader            replica 1",
        "term              4",
        "log               entries 1 to 13, snapshot at 0",
        "indexes           durable 13, committed 12, applied 12",
        "waiting           0 proposals, 0 reads, 2 KiB uncommitted",
        "election timeout  500 ms",
        "voters            1",
        "learners          2\n",
      ].join("\n"),
    );
    const [json] = objects(await covey(["raft", "status", "--json", "--data", data]));
    assert.partialDeepStrictEqual(json, {
      clusterId,
      groups: [{ role: "leader", uncommittedBytes: 2048, voters: [1], learners: [2] }],
      log: { newestSegment: 3, bytesWritten: 5_000_000, lowSpace: false },
    });
    const none = await covey(["raft", "status", "--group", "5", "--data", data]);
    assert.match(none.stderr, /this node holds no replica of it/);
  }));

const info: Handlers<typeof Node> = {
  info: () => ({
    name: "gw-1",
    nodeId,
    version: "0.1.0",
    runtime: { name: "bun", version: "1", architecture: "x64" },
    uptimeMillis: 3_720_000n,
    memory: { rssBytes: 50n << 20n, heapUsedBytes: 1n, heapTotalBytes: 2n },
  }),
  services: () => ({}),
};

/** A store of which only the status is asked. */
const maintenance = answering<Handlers<typeof Maintenance>>({
  status: () => ({
    header: { clusterId, memberId: 1n, revision: 7n, raftTerm: 4n },
    version: "0.1.0",
    dbSize: 3n << 10n,
    dbQuota: 512n << 20n,
    keys: 3n,
    errors: ["NOSPACE"],
  }),
});

test("status: one page, or one object", () =>
  withRaft(
    async ({ data }) => {
      const { code, stdout, stderr } = await covey(["status", "--data", data]);
      assert.deepEqual([code, stderr], [0, ""]);
      assert.equal(
        stdout,
        [
          `node     gw-1 (${nodeId})`,
          "covey    0.1.0 on bun 1, x64",
          "up       1h 2m, 50 MiB of memory",
          `cluster  ${clusterId}`,
          "leader   gw-1, term 4",
          "here     leader, replica 1, committed 12, applied 12",
          "peers    1 gw-1 tcp://127.0.0.1:1 (leader)",
          "         2 gw-2 tcp://127.0.0.1:2 (learner, silent)",
          "kv       revision 7, 3 keys, 3 KiB of 512 MiB, 0 leases, 0 watches",
          "         NOSPACE",
          "members  off\n",
        ].join("\n"),
      );
      const [json] = objects(await covey(["status", "--json", "--data", data]));
      assert.partialDeepStrictEqual(json, {
        name: "gw-1",
        uptimeMs: 3_720_000,
        memory: { rssBytes: 50 << 20 },
        raft: { clusterId, groups: [{ leader: 1 }] },
        peers: [{ name: "gw-1" }, { name: "gw-2" }],
        kv: { revision: 7, keys: 3, errors: ["NOSPACE"] },
      });
    },
    {},
    (registry) => {
      registry.add(Node, info);
      registry.add(Maintenance, maintenance);
    },
  ));

test("status: modules that are off, a node that waits, a cluster without a leader", async () => {
  await withServices((registry) => registry.add(Node, info), async ({ data }) => {
    const { code, stdout } = await covey(["status", "--data", data]);
    assert.equal(code, 0);
    assert.match(stdout, /^raft {5}off\nkv {7}off\nmembers {2}off\n$/m);
  });
  const none = () => {
    throw new CoveyError(Code.unavailable, "no leader");
  };
  await withRaft(
    async ({ data }) => {
      const { code, stdout, stderr } = await covey(["status", "--data", data]);
      assert.equal(code, 4);
      assert.match(stdout, /^leader {3}none, term 4$/m);
      assert.equal(stderr, "covey: there is no leader; writes wait for one\n");
    },
    { status: () => ({ clusterId, nodeId, groups: [{ ...group, leader: 0n }] }), peers: none },
    (registry) => registry.add(Node, info),
  );
  await withRaft(
    async ({ data }) => {
      const { code, stdout, stderr } = await covey(["status", "--data", data]);
      assert.equal(code, 4);
      assert.equal(
        stderr,
        "covey: this node is part of no cluster yet: the cluster is being founded: found 1 of 3\n",
      );
      const json = await covey(["status", "--data", data, "--json"]);
      assert.match(json.stdout, /"problem":"this node is part of no cluster yet: the cluster /);
      assert.match(stdout, /^kv {7}waits for the cluster$/m);
      assert.match(
        stdout,
        /^cluster {2}none; this node waits for its founders, or for covey raft /m,
      );
    },
    {
      status: () => ({}),
      peers: none,
      groups() {
        const why = "the cluster is being founded: found 1 of 3";
        throw new CoveyError(Code.unavailable, `this node is part of no cluster yet: ${why}`);
      },
    },
    (registry) => registry.add(Node, info),
  );
});

test("a reader that goes away ends a command without a word", () =>
  withRaft(async ({ data }) => {
    const run = await covey(["raft", "peers", "--data", data, "--json"], { breaksAt: 2 });
    assert.deepEqual([run.code, run.stderr], [1, ""]);
    assert.equal(objects(run).length, 1);
  }));

test("raft status and status say why a group has stopped", () =>
  withRaft(async ({ data }) => {
    const stopped = "group kv: replica 1 was removed from the group";
    const raft = await covey(["raft", "status", "--data", data]);
    assert.match(raft.stdout, new RegExp(`^stopped +${stopped}$`, "m"));
    const json = await covey(["raft", "status", "--data", data, "--json"]);
    assert.partialDeepStrictEqual(objects(json), [{ groups: [{ stopped }] }]);
    const node = await covey(["status", "--data", data]);
    assert.equal(node.code, 4);
    assert.equal(node.stderr, `covey: ${stopped}\n`);
    assert.match(node.stdout, /^here +stopped, replica 1/m);
  }, {
    status: () => ({
      clusterId,
      nodeId,
      groups: [{ ...group, leader: 0n, stopped: "group kv: replica 1 was removed from the group" }],
    }),
  }, (registry) => registry.add(Node, answering<Handlers<typeof Node>>({}))));
