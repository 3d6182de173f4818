/** Which node a command asks, and what is said when nobody answers. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { create, toBinary } from "npm:@bufbuild/protobuf@2.17.0";
import { FileDescriptorSetSchema } from "npm:@bufbuild/protobuf@2.17.0/wkt";
import { KV } from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { Node } from "../../src/gen/covey/node/v1/node_pb.ts";
import { Raft } from "../../src/gen/covey/raft/v1/raft_pb.ts";
import { createLog } from "../../src/log.ts";
import { selectRuntime, startNode } from "../../src/start.ts";
import type { CallContext, Handlers } from "../../src/ttrpc/service.ts";
import type { ServiceRegistry } from "../../src/ttrpc/registry.ts";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";
import { makeCertificates } from "../support/certificates.ts";
import { answering, covey, withServices } from "./node_support.ts";

const peers = ["raft", "peers"];
const handlers = answering<Handlers<typeof Raft>>({
  peers: () => ({ leader: 1n, peers: [{ name: "gw" }] }),
});
const serve = (registry: ServiceRegistry): void => registry.add(Raft, handlers);

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "covey-target-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("a node is found by flag, variable, folder and configuration; the nearer one wins", () =>
  withServices(serve, ({ data, socket }) =>
    inFolder(async (folder) => {
      const toml = join(folder, "covey.toml");
      writeFileSync(toml, `[node]\ndata = ${JSON.stringify(data)}\n`);
      const wrong = "unix:/nowhere/covey.sock";
      const found: [string[], Record<string, string>][] = [
        [["--node", socket], {}],
        [["--node", socket], { COVEY_NODE: wrong, COVEY_NODE__DATA: "/nowhere" }],
        [["--data", data], { COVEY_NODE: wrong }],
        [["--config", toml], { COVEY_NODE: wrong }],
        [[], { COVEY_NODE: socket, COVEY_NODE__DATA: "/nowhere" }],
        [[], { COVEY_NODE: "", COVEY_NODE__DATA: data }],
        [[], { COVEY_CONFIG: toml }],
        // A variable is stronger than the file.
        [["--config", toml], { COVEY_NODE__DATA: data }],
        // The first that answers.
        [["--node", `${wrong}, ${socket}`], {}],
        [["--node", socket, "--timeout", "5s"], {}],
      ];
      for (const [flags, environment] of found) {
        const run = await covey([...peers, ...flags], { environment });
        assert.deepEqual(
          [run.code, run.stderr],
          [0, ""],
          `${flags} ${JSON.stringify(environment)}`,
        );
        assert.match(run.stdout, /gw/);
      }
    })));

test("what names no node is a mistake of its own", () =>
  inFolder(async (folder) => {
    const bad = join(folder, "bad.toml");
    writeFileSync(bad, "[node]\ndata = 1\n");
    const memory = join(folder, "memory.toml");
    writeFileSync(memory, "[node]\nmemory_only = true\n");
    const cases: [string[], Record<string, string>, number, RegExp][] = [
      [
        ["--node", "x", "--data", "y"],
        {},
        2,
        /^covey: --node and --data both name a node; give one/,
      ],
      [["--node", ""], {}, 2, /^covey: --node is empty; name an address/],
      [["--node", " , "], {}, 2, /^covey: --node is empty; name an address/],
      [["--data", ""], {}, 2, /^covey: --data is empty/],
      [["--node", "gw-1:7946"], {}, 2, /scheme; .*; did you mean tcp:\/\/gw-1:7946\?/],
      [[], { COVEY_NODE: "http://gw-1:7946/" }, 2, /did you mean tcp:\/\/gw-1:7946\?/],
      [["--node", "vsock://1:2"], {}, 2, /has no vsock sockets here/],
      [["--timeout", "5"], {}, 2, /^covey: --timeout "5": give a duration such as 500ms or 5s/],
      [["--timeout", "0"], {}, 2, /^covey: --timeout "0": give a duration/],
      [
        ["--config", bad],
        {},
        3,
        /bad\.toml:2:8: node\.data: found 1; allowed: the path of a folder/,
      ],
      [["--config", "/nowhere.toml"], {}, 3, /^\/nowhere\.toml: there is no such file/],
      [[], { COVEY_NODE__DATE: "x" }, 3, /^COVEY_NODE__DATE: unknown variable; .*COVEY_NODE__DATA/],
      [
        ["--config", memory],
        {},
        2,
        /keeps the node in memory, .* --node tcp:\/\/127\.0\.0\.1:7946/,
      ],
      [["--data", `/${"x".repeat(120)}`], {}, 2, /the path is longer than the 107 bytes/],
    ];
    for (const [flags, environment, code, line] of cases) {
      const run = await covey([...peers, ...flags], { environment });
      assert.match(run.stderr, line);
      assert.deepEqual([run.code, run.stdout], [code, ""], run.stderr);
    }
  }));

test("nobody answers: exit code 4, and what to do", () =>
  inFolder(async (folder) => {
    const help =
      "is an agent running with this data directory? Name its folder with --data, or a " +
      "node with --node ADDRESS or COVEY_NODE (unavailable)\n";
    const socket = `unix:${folder}/covey.sock`;
    const none = await covey([...peers, "--data", folder]);
    assert.equal(none.stderr, `covey: cannot reach ${socket}: there is no such socket; ${help}`);
    assert.equal(none.code, 4);
    const local = await covey(peers);
    assert.match(local.stderr, /cannot reach unix:\.\/covey-data\/covey\.sock: there is no such /);

    const closed = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => closed.once("listening", resolve));
    const tcp = `tcp://127.0.0.1:${(closed.address() as AddressInfo).port}`;
    await new Promise((resolve) => closed.close(resolve));
    const refused = await covey([...peers, "--node", tcp]);
    assert.equal(
      refused.stderr,
      `covey: cannot reach ${tcp}: nothing listens there; is a node running there? --node names ` +
        "it; one with TLS is asked with --config FILE, whose [tls] has the certificate " +
        "(unavailable)\n",
    );
    assert.equal(refused.code, 4);
    const both = await covey(peers, { environment: { COVEY_NODE: `${tcp},${socket}` } });
    assert.equal(
      both.stderr,
      `covey: cannot reach ${tcp}: nothing listens there; cannot reach ${socket}: there is no such ` +
        "socket; is a node running there? COVEY_NODE names it; one with TLS is asked with --config " +
        "FILE, whose [tls] has the certificate (unavailable)\n",
    );
    assert.equal(both.code, 4);
    mkdirSync(join(folder, "covey.sock"));
    assert.equal((await covey([...peers, "--data", folder])).code, 4, "a folder is no socket");
  }));

test("somebody answers who is no node, or does not answer at all", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  const web = createServer((socket) => {
    socket.on("error", () => {
      // The command leaves without a word.
    });
    socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  }).listen(0, "127.0.0.1");
  try {
    for (const server of [silent, web]) {
      if (!server.listening) await new Promise((resolve) => server.once("listening", resolve));
    }
    const node = (server: typeof silent): string[] => [
      ...["--node", `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`],
    ];
    const late = await covey([...peers, ...node(silent), "--timeout", "300ms"]);
    assert.match(late.stderr, /: no connection within the time given; is a node running there\?/);
    assert.equal(late.code, 4);
    const other = await covey([...peers, ...node(web)]);
    assert.match(
      other.stderr,
      /the peer closed the connection|does not speak ttrpc|hung up without /,
    );
    assert.equal(other.code, 4);
  } finally {
    silent.close();
    web.close();
  }
});

test("a module that is off", () =>
  withServices(serve, async ({ data, socket }) => {
    const { code, stderr } = await covey(["kv", "status", "--data", data]);
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`^covey: ${socket} does not serve this: the module is off `));
    assert.match(
      stderr,
      /\(raft\.enabled, kv\.enabled, membership\.enabled\).*\(unimplemented\)\n$/,
    );
  }));

test("no answer in time: with a leader it is the node's, without one it is the cluster's", async () => {
  const never = new Promise<never>(() => {});
  for (const leader of [0n, 1n]) {
    const silent = answering<Handlers<typeof Raft>>({
      peers: () => never,
      status: () => ({ groups: [{ group: 0, leader }] }),
    });
    await withServices((registry) => registry.add(Raft, silent), async ({ data }) => {
      const run = await covey([...peers, "--data", data, "--timeout", "200ms"]);
      assert.equal(run.code, leader === 0n ? 4 : 1);
      assert.match(
        run.stderr,
        leader === 0n
          ? /^covey: no leader answered in time, .* a majority of the voters must be up/
          : /\(deadline_exceeded\)\n$/,
      );
    });
  }
});

test("without an answer it is open whether a change was made, but a read made none", async () => {
  const never = new Promise<never>(() => {});
  const groups = [{ group: 0, leader: 0n }];
  const raft = answering<Handlers<typeof Raft>>({
    status: () => ({ groups }),
    transfer: () => never,
  });
  const kv = answering<Handlers<typeof KV>>({
    openSession: () => ({ id: 1n }),
    range: () => never,
    put: () => never,
  });
  await withServices((registry) => {
    registry.add(Raft, raft);
    registry.add(KV, kv);
  }, async ({ data }) => {
    for (const words of [["kv", "put", "a", "1"], ["kv", "get", "a"], ["raft", "transfer"]]) {
      const { code, stderr } = await covey([...words, "--data", data, "--timeout", "200ms"]);
      assert.equal(code, 4, stderr);
      assert.match(stderr, /^covey: no leader answered in time/);
      assert.equal(/a change may have been made/.test(stderr), words[1] === "put", stderr);
    }
  });
});

/** What somebody is slow to say: the time itself is what these tests are about. */
function after<T>(ms: number, value: T): Promise<T> {
  return new Promise((resolve) => setTimeout(() => resolve(value), ms));
}

/** A node whose answers to the first question take so long, and which leaves the others open. */
function slowRaft(peersMs: number): {
  readonly raft: Handlers<typeof Raft>;
  readonly givenMs: Map<string, number | undefined>;
} {
  const givenMs = new Map<string, number | undefined>();
  const never = (name: string) => (_request: unknown, context: CallContext): Promise<never> => {
    givenMs.set(name, context.timeoutMs);
    return new Promise<never>(() => {});
  };
  const raft = answering<Handlers<typeof Raft>>({
    peers: () => after(peersMs, { leader: 1n, peers: [{ replica: 2n, name: "gw" }] }),
    remove: never("remove"),
    status: never("status"),
  });
  return { raft, givenMs };
}

test("--timeout is the time of the whole command: its requests share it", async () => {
  const { raft, givenMs } = slowRaft(500);
  await withServices((registry) => registry.add(Raft, raft), async ({ data }) => {
    const startedMs = performance.now();
    const words = ["raft", "remove", "2", "--yes", "--data", data, "--timeout", "1s"];
    const { code, stderr } = await covey(words);
    const tookMs = performance.now() - startedMs;
    assert.deepEqual([code, /\(deadline_exceeded\)/.test(stderr)], [1, true], stderr);
    assert.ok(givenMs.get("remove")! <= 510, `${givenMs.get("remove")} ms for the second request`);
    // Whether there is a leader is asked within the same time.
    assert.ok(givenMs.get("status")! <= 260, `${givenMs.get("status")} ms for the last question`);
    assert.ok(tookMs < 2_000, `${tookMs} ms`);
  });
});

test("covey call: asking what the server serves takes of the call's time", async () => {
  const { file } = TestService;
  const set = create(FileDescriptorSetSchema, {
    file: [...file.dependencies, file].map(({ proto }) => proto),
  });
  const node = answering<Handlers<typeof Node>>({
    services: () => after(500, { fileDescriptorSet: toBinary(FileDescriptorSetSchema, set) }),
  });
  let givenMs: number | undefined;
  const handlers = answering<Handlers<typeof TestService>>({
    nothing: (_request, context) => {
      givenMs = context.timeoutMs;
      return {};
    },
  });
  await withServices((registry) => {
    registry.add(Node, node);
    registry.add(TestService, handlers);
  }, async ({ socket }) => {
    const run = await covey(["call", socket, `${TestService.typeName}/Nothing`, "--timeout", "3s"]);
    assert.equal(run.code, 0, run.stderr);
    assert.ok(givenMs! > 0 && givenMs! <= 2_510, `${givenMs} ms were left`);
  });
});

test("what a person takes to type is not the command's time", async () => {
  const { raft, givenMs } = slowRaft(0);
  await withServices((registry) => registry.add(Raft, raft), async ({ data }) => {
    const words = ["raft", "remove", "2", "--data", data, "--timeout", "1s"];
    const input = after(1_100, "gw\n");
    const { stderr } = await covey(words, { terminals: ["stdin"], input });
    assert.match(stderr, /\(deadline_exceeded\)/);
    assert.ok(givenMs.get("remove")! > 200, `${givenMs.get("remove")} ms were left`);
    assert.ok(givenMs.get("remove")! <= 1_000, `${givenMs.get("remove")} ms were left`);
    assert.ok(givenMs.get("status")! <= 260, "asked once more time had gone by");
  });
});

test("a node with TLS is reached over TCP with the certificate of the configuration", () =>
  inFolder(async (folder) => {
    const certificates = await makeCertificates();
    const config = (name: "good" | "rogue"): string => {
      const { certificate, key } = certificates[name];
      const authorities = name === "good"
        ? certificates.authorities
        : certificates.otherAuthorities;
      const files = { certificate, key, authorities };
      const lines = Object.entries(files).map(([what, text]) => {
        writeFileSync(`${folder}/${name}-${what}.pem`, text);
        return `${what}_file = ${JSON.stringify(`${folder}/${name}-${what}.pem`)}\n`;
      });
      writeFileSync(`${folder}/${name}.toml`, `[tls]\nmode = "on"\n${lines.join("")}`);
      return `${folder}/${name}.toml`;
    };
    const runtime = await selectRuntime();
    await using node = await startNode({
      logger: await createLog(runtime, { level: "error", node: "test", format: "none" }),
      file: config("good"),
      node: { name: "secure", listen: ["tcp://127.0.0.1:0"], memory_only: true },
      admin: { enabled: false },
    });
    const [address] = node.rpc.addresses;
    const status = ["status", "--node", address];
    const known = await covey([...status, "--config", config("good")]);
    assert.match(known.stdout, /^node {5}secure \(/, known.stderr);
    for (const flags of [[], ["--config", config("rogue")]]) {
      const { code, stdout, stderr } = await covey([...status, ...flags, "--timeout", "2s"]);
      assert.deepEqual([code, stdout], [4, ""], stderr);
      assert.match(stderr, /^covey: cannot reach tcp:/);
    }
    writeFileSync(`${folder}/good-key.pem`, "no key");
    const broken = await covey([...status, "--config", `${folder}/good.toml`]);
    assert.equal(broken.code, 3);
    assert.match(broken.stderr, /tls\.key_file: found .*, which is no PEM file; /);
  }));

test("a node that lets nobody in without a certificate: exit code 5, and what to do", async () => {
  const runtime = await selectRuntime();
  await using node = await startNode({
    logger: await createLog(runtime, { level: "error", node: "test", format: "none" }),
    node: { name: "closed", listen: ["tcp://127.0.0.1:0"], memory_only: true },
    admin: { enabled: false },
  });
  for (
    const words of [["status"], ["raft", "peers"], ["kv", "put", "a", "1"], ["kv", "watch", "a"]]
  ) {
    const run = await covey([...words, "--node", node.rpc.addresses[0]]);
    assert.deepEqual([run.code, run.stdout], [5, ""], run.stderr);
    assert.match(run.stderr, /needs an identity: use the unix socket .*\(unauthenticated\)\n$/);
  }
});
