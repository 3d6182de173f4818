/** `covey members`, `leave` and `kick`: against services that answer what the test says, and nodes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type MemberInfoSchema,
  Members,
  MemberState,
} from "../../src/gen/covey/membership/v1/members_pb.ts";
import { Node as NodeService } from "../../src/gen/covey/node/v1/node_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import type { Handlers } from "../../src/ttrpc/service.ts";
import { inFolder, startQuiet } from "../node/support.ts";
import { answering, covey, type FakeNode, objects, withServices } from "./node_support.ts";

type MembersHandlers = Handlers<typeof Members>;
type MemberInit = MessageInitShape<typeof MemberInfoSchema>;

const clusterId = "fedcba9876543210fedcba9876543210";

function member(number: number, more: MemberInit = {}): MemberInit {
  return {
    name: `gw-${number}`,
    address: `tcp://127.0.0.1:${number}`,
    nodeId: String(number).repeat(32),
    incarnation: BigInt(number),
    core: true,
    ...more,
  };
}

const encoded = (text: string): Uint8Array => new TextEncoder().encode(text);

const all: MemberInit[] = [
  member(1, { metadata: { zone: encoded("north") } }),
  member(2, { core: false, facts: { raw: Uint8Array.of(0xff) } }),
];

const listed: Awaited<ReturnType<MembersHandlers["list"]>> = {
  state: MemberState.MEMBER,
  clusterId,
  name: "gw-1",
  view: { epoch: 7n, digest: 0xabcn, members: all },
};

function withMembers(
  change: Partial<MembersHandlers>,
  body: (node: FakeNode) => Promise<void>,
): Promise<void> {
  const handlers = answering<MembersHandlers>({ list: () => listed, ...change });
  return withServices((registry) => {
    registry.add(Members, handlers);
    registry.add(NodeService, answering<Handlers<typeof NodeService>>({}));
  }, body);
}

test("members: a table, and JSON with what each says of itself", () =>
  withMembers({}, async ({ data }) => {
    const { code, stdout, stderr } = await covey(["members", "--data", data]);
    assert.deepEqual([code, stderr], [0, "covey: view 7, 2 members\n"]);
    assert.equal(
      stdout,
      [
        `NAME  ROLE  ADDRESS            NODE`,
        `gw-1  core  tcp://127.0.0.1:1  ${"1".repeat(32)}`,
        `gw-2  leaf  tcp://127.0.0.1:2  ${"2".repeat(32)}\n`,
      ].join("\n"),
    );
    const json = await covey(["members", "--data", data, "--json"]);
    assert.deepEqual([json.code, json.stderr], [0, ""]);
    assert.deepEqual(objects(json), [{
      state: "member",
      clusterId,
      epoch: 7,
      digest: "0000000000000abc",
      members: [
        {
          name: "gw-1",
          address: "tcp://127.0.0.1:1",
          nodeId: "1".repeat(32),
          incarnation: "0000000000000001",
          role: "core",
          metadata: { zone: "north" },
        },
        {
          name: "gw-2",
          address: "tcp://127.0.0.1:2",
          nodeId: "2".repeat(32),
          incarnation: "0000000000000002",
          role: "leaf",
          facts: { raw: { base64: "/w==" } },
        },
      ],
    }]);
  }));

test("members: a node that is none, or cannot follow", async () => {
  const problem = "joining: name gw-1 is taken";
  const joining = { state: MemberState.JOINING, problem, name: "gw-1" };
  await withMembers({ list: () => joining }, async ({ data }) => {
    const { code, stdout, stderr } = await covey(["members", "--data", data]);
    assert.deepEqual([code, stderr], [4, `covey: gw-1: ${problem}\n`]);
    assert.equal(stdout, "NAME  ROLE  ADDRESS  NODE\n");
    const json = await covey(["members", "--data", data, "--json"]);
    assert.equal(json.code, 4);
    assert.partialDeepStrictEqual(objects(json), [{ state: "joining", problem, epoch: 0 }]);
    const status = await covey(["status", "--data", data]);
    assert.match(status.stdout, /^members {2}joining, no view yet\n {9}joining: name gw-1 is /m);
  });
  const degraded = { ...listed, problem: "too few are there" };
  await withMembers({ list: () => degraded }, async ({ data }) => {
    const { code, stderr } = await covey(["members", "--data", data]);
    assert.equal(code, 0, "it is a member all the same");
    assert.equal(stderr, "covey: view 7, 2 members\ncovey: gw-1: too few are there\n");
    const status = await covey(["status", "--data", data]);
    assert.match(status.stdout, /^members {2}2 in view 7\n {9}too few are there\n$/m);
    const json = await covey(["status", "--data", data, "--json"]);
    assert.partialDeepStrictEqual(objects(json), [{
      membership: { state: "member", problem: "too few are there", epoch: 7 },
    }]);
  });
});

/** Two views, and then it goes on for as long as somebody listens. */
const watching: Partial<MembersHandlers> = {
  async *watch(_request, { signal }) {
    yield { view: { epoch: 7n, members: all }, joined: all };
    yield {
      view: { epoch: 10n, members: [member(1)] },
      joined: [],
      left: [member(2)],
      changed: [member(1)],
      skipped: 2,
    };
    await new Promise<void>((resolve) =>
      signal.addEventListener("abort", () => resolve(), { once: true })
    );
  },
};

test("members --watch: a line for each view, until Ctrl-C", () =>
  withMembers(watching, async ({ data }) => {
    const run = await covey(["members", "--watch", "--data", data], {
      onOutput: (shown, send) => shown.includes("view 10") && send("SIGINT"),
    });
    assert.deepEqual([run.code, run.stderr], [0, ""]);
    assert.equal(
      run.stdout,
      "view 7, 2 members: +gw-1 +gw-2\n" +
        "view 10, 1 member: -gw-2 ~gw-1 (2 views skipped)\n",
    );
    const json = await covey(["members", "--watch", "--json", "--data", data], {
      onOutput: (shown, send) => shown.includes('"epoch":10') && send("SIGTERM"),
    });
    const [, second] = objects(json);
    assert.partialDeepStrictEqual(second, { epoch: 10, members: 1, joined: [], skipped: 2 });
    const { left, changed } = second as Record<string, { name: string }[]>;
    assert.deepEqual([left, changed].map((list) => list.map(({ name }) => name)), [
      ["gw-2"],
      ["gw-1"],
    ]);
  }));

test("members --watch: the node stops, and the reader goes away", async () => {
  const ending: Partial<MembersHandlers> = {
    async *watch() {
      yield await Promise.resolve({ view: { epoch: 1n, members: all }, joined: all });
    },
  };
  await withMembers(ending, async ({ data }) => {
    const { code, stderr } = await covey(["members", "--watch", "--data", data]);
    assert.deepEqual([code, stderr], [4, "covey: the node has stopped (unavailable)\n"]);
  });
  await withMembers(watching, async ({ data }) => {
    let leave = () => {};
    const { code, stderr } = await covey(["members", "--watch", "--data", data], {
      onReader: (callback) => leave = callback,
      onOutput: (shown) => shown.includes("view 10") && leave(),
    });
    assert.deepEqual([code, stderr], [1, ""]);
  });
});

test("leave and kick: what they say", async () => {
  const asked: unknown[] = [];
  const handlers: Partial<MembersHandlers> = {
    leave: (request) => {
      asked.push(request.$typeName);
      return {};
    },
    kick: ({ member: wanted }) => {
      asked.push(wanted);
      return { member: member(2) };
    },
  };
  await withMembers(handlers, async ({ data }) => {
    const left = await covey(["leave", "--data", data]);
    assert.deepEqual([left.code, left.stdout], [0, ""]);
    assert.match(left.stderr, /^covey: the node has left and may be stopped; it joins again /);
    assert.deepEqual(objects(await covey(["leave", "--data", data, "--json"])), [{ left: true }]);
    const kicked = await covey(["kick", "gw-2", "--data", data]);
    assert.deepEqual([kicked.code, kicked.stdout], [0, ""]);
    assert.equal(
      kicked.stderr,
      "covey: gw-2 at tcp://127.0.0.1:2 is sent away; if it still runs, it joins again\n",
    );
    const json = await covey(["kick", "2".repeat(32), "--data", data, "--json"]);
    assert.partialDeepStrictEqual(objects(json), [{ kicked: { name: "gw-2", role: "core" } }]);
    assert.deepEqual(asked, [
      "covey.membership.v1.LeaveRequest",
      "covey.membership.v1.LeaveRequest",
      "gw-2",
      "2".repeat(32),
    ]);
  });
});

test("members, leave, kick: wrong command lines, and a node where membership is off", async () => {
  const wrong: [string[], RegExp][] = [
    [["members", "gw-1"], /^covey: .*gw-1/],
    [["members", "--wach"], /^covey: .*--wach.*--watch/],
    [["leave", "now"], /^covey: .*now/],
    [["kick"], /^covey: .*MEMBER/],
    [["kick", "a", "b"], /^covey: .*b/],
    [["kick", ""], /^covey: MEMBER is empty: give a name, an address or a node id\n/],
  ];
  await withMembers({}, async ({ data }) => {
    for (const [args, says] of wrong) {
      const run = await covey([...args, "--data", data]);
      assert.deepEqual([run.code, run.stdout], [2, ""], `${args.join(" ")}: ${run.stderr}`);
      assert.match(run.stderr, says);
    }
  });
  await withServices((registry) => {
    registry.add(NodeService, answering<Handlers<typeof NodeService>>({}));
  }, async ({ data }) => {
    for (const args of [["members"], ["members", "--watch"], ["leave"], ["kick", "gw-2"]]) {
      const run = await covey([...args, "--data", data]);
      assert.equal(run.code, 1, run.stderr);
      assert.match(
        run.stderr,
        /does not serve this: the module is off there \(.*membership\.enabled\).*\(unimplemented\)\n$/,
      );
    }
  });
});

test("leave: a node that looks for its cluster is in none that it could leave", () =>
  inFolder(async (folder) => {
    const data = `${folder}/data`;
    await using node = await startQuiet({
      tls: { mode: "off" },
      node: { name: "gw-1", data },
      cluster: { join: ["tcp://127.0.0.1:1"] },
      raft: { enabled: false },
      kv: { enabled: false },
    });
    const run = await covey(["leave", "--data", data]);
    assert.equal(run.code, 1);
    assert.match(
      run.stderr,
      /^covey: this node is no member of a cluster: joining: .* \(failed_precondition\)\n$/,
    );
    assert.equal(node.members.state, "joining");
  }));

test("members, kick, leave: a real node, alone and outside of a cluster", () =>
  inFolder(async (folder) => {
    const data = `${folder}/data`;
    await using node = await startQuiet({
      tls: { mode: "off" },
      node: { name: "gw-1", data },
    });
    for await (const _view of node.members.views()) break;
    const [address] = node.rpc.addresses;
    const shown = await covey(["members", "--data", data]);
    assert.equal(shown.code, 0, shown.stderr);
    assert.match(shown.stdout, new RegExp(`^gw-1  core  ${address}  ${node.nodeId}$`, "m"));
    const unknown = await covey(["kick", "gw-9", "--data", data]);
    assert.deepEqual([unknown.code, unknown.stderr], [
      1,
      "covey: there is no member gw-9: the members are gw-1 (not_found)\n",
    ]);
    for (const self of ["gw-1", address, node.nodeId]) {
      const run = await covey(["kick", self, "--data", data]);
      assert.deepEqual([run.code, run.stderr], [
        1,
        'covey: gw-1 is the node that was asked: use "covey leave" there (failed_precondition)\n',
      ]);
    }
    const left = await covey(["leave", "--data", data, "--json"]);
    assert.deepEqual([left.code, objects(left)], [0, [{ left: true }]]);
    const none = await covey(["members", "--data", data]);
    assert.equal(none.code, 4);
    assert.match(none.stderr, /^covey: gw-1: this node has left\n/m);
    const late = await covey(["kick", "gw-2", "--data", data]);
    assert.deepEqual([late.code, late.stderr], [
      1,
      "covey: this node is no member of a cluster (failed_precondition)\n",
    ]);
  }));
