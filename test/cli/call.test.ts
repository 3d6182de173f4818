/** `covey call` as a process: every kind of call, and what scripts can rely on. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { makeCertificates } from "../support/certificates.ts";
import { writeFileSync } from "node:fs";
import { spawnCli } from "../support/cli.ts";
import { buildDescriptorSet, call, lines, service, withTarget } from "./call_support.ts";

test("call: unary over TCP and over a unix socket, however the request is given", () =>
  withTarget(async ({ tcp, unix }) => {
    const answer = '{"payload":"aGk=","metadataValues":[],"hasDeadline":false}\n';
    const request = '{"payload":"aGk="}';
    const ways: [args: string[], input?: string][] = [
      [[tcp, `${service}/Echo`, request]],
      [[unix, `${service}/Echo`, request]],
      [[unix.replace("unix:/", "unix:///"), `${service}/Echo`, request, "--json"]],
      [[tcp, `${service}/Echo`, "-"], '{\n  "payload":\n  "aGk="\n}\n'],
    ];
    for (const [args, input] of ways) {
      assert.deepEqual(await call(args, input), { code: 0, stdout: answer, stderr: "" });
    }
    // No request is the empty one.
    assert.deepEqual(lines(await call([tcp, `${service}/Echo`])), [
      { payload: "", metadataValues: [], hasDeadline: false },
    ]);
    assert.deepEqual(lines(await call([tcp, `${service}/Echo`, "-"])), [
      { payload: "", metadataValues: [], hasDeadline: false },
    ]);
  }));

test("call: streams take and give one object a line", () =>
  withTarget(async ({ tcp }) => {
    const count = await call([tcp, `${service}/Count`, '{"count":3,"bytes":1}']);
    assert.deepEqual(lines(count), [0, 1, 2].map((index) => ({ index, payload: "AA==" })));
    // An integer beyond 2^53 keeps all of its digits, as a number and as text.
    const values = '{"value":9007199254740993}\n\n{"value":"-9007199254740993"}\r\n{"value":7}';
    const sum = await call([tcp, `${service}/Sum`], values);
    assert.deepEqual(lines(sum), [{ sum: "7", count: 3 }]);
    const none = await call([tcp, `${service}/Sum`, "-"], "");
    assert.deepEqual(lines(none), [{ sum: "0", count: 0 }]);
    const argument = await call([tcp, `${service}/Sum`, '{"value":1}\n{"value":2}']);
    assert.deepEqual(lines(argument), [{ sum: "3", count: 2 }]);
    const chat = await call(
      [tcp, `${service}/Chat`, "-"],
      '{"payload":"AA=="}\n{"payload":"AQ=="}',
    );
    assert.deepEqual(lines(chat).map((one) => (one as { payload: string }).payload), [
      ...["AA==", "AQ=="],
    ]);
    for (const run of [count, sum, none, argument, chat]) {
      assert.deepEqual([run.code, run.stderr], [0, ""]);
    }
  }));

test("call: a conversation goes line by line, before the input has ended", () =>
  withTarget(async ({ tcp }) => {
    const child = spawnCli(["call", tcp, `${service}/Chat`, "-"]);
    const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
    let shown = "";
    let line = (): void => {};
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      shown += text;
      if (text.includes("\n")) line();
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    for (const payload of ["AA==", "AQ==", "Ag=="]) {
      const answered = new Promise<void>((resolve) => line = resolve);
      child.stdin?.write(`{"payload":"${payload}"}\n`);
      await answered;
      assert.match(shown, new RegExp(`"payload":"${payload}".*\n$`));
    }
    child.stdin?.end();
    assert.equal(await ended, 0);
    clearTimeout(limit);
  }));

test("call: metadata, several of a key, and a deadline that the server is told", () =>
  withTarget(async ({ tcp, last }) => {
    const metadata = ["--metadata", "k=a", "--metadata", "K=b=c", "--metadata", "other="];
    const echo = await call([
      ...[tcp, `${service}/Echo`, '{"metadataKey":"k"}', ...metadata, "--timeout", "9s"],
    ]);
    assert.deepEqual(lines(echo), [{
      payload: "",
      metadataValues: ["a", "b=c"],
      hasDeadline: true,
    }]);
    await call([tcp, `${service}/Nothing`, ...metadata]);
    assert.deepEqual([...last()!.metadata], [["k", "a"], ["k", "b=c"], ["other", ""]]);
    const late = await call([
      tcp,
      `${service}/Echo`,
      '{"delayMillis":60000}',
      "--timeout",
      "500ms",
    ]);
    assert.deepEqual(late, {
      code: 1,
      stdout: "",
      stderr: "covey: deadline exceeded (deadline_exceeded)\n",
    });
  }));

test("call: a status becomes an exit code and a line; what came before it is kept", () =>
  withTarget(async ({ tcp }) => {
    const cases: [code: number, exit: number, name: string][] = [
      ...[[5, 1, "not_found"], [14, 4, "unavailable"], [7, 5, "permission_denied"]] as const,
      ...[[16, 5, "unauthenticated"], [12, 1, "unimplemented"]] as const,
    ].map(([code, exit, name]) => [code, exit, name]);
    await Promise.all(cases.map(async ([code, exit, name]) => {
      const request = JSON.stringify({ code, message: "on purpose", after: 2 });
      const run = await call([tcp, `${service}/FailStream`, request]);
      assert.equal(run.stderr, `covey: on purpose (${name})\n`);
      assert.equal(run.code, exit);
      assert.equal(lines(run).length, 2);
    }));
  }));

test("call: --list says what a covey node serves, for people and for programs", () =>
  withTarget(async ({ unix }) => {
    const text = await call([unix, "--list"]);
    assert.equal(text.code, 0, text.stderr);
    assert.deepEqual(text.stdout.split("\n").filter((line) => line.startsWith(service)), [
      `${service}/Echo (covey.test.v1.EchoRequest) -> (covey.test.v1.EchoResponse)`,
      `${service}/Count (covey.test.v1.CountRequest) -> (stream covey.test.v1.CountResponse)`,
      `${service}/Sum (stream covey.test.v1.SumRequest) -> (covey.test.v1.SumResponse)`,
      `${service}/Chat (stream covey.test.v1.EchoRequest) -> (stream covey.test.v1.EchoResponse)`,
      `${service}/Fail (covey.test.v1.FailRequest) -> (covey.test.v1.EchoResponse)`,
      `${service}/FailStream (covey.test.v1.FailRequest) -> (stream covey.test.v1.EchoResponse)`,
      `${service}/Nothing (covey.test.v1.NothingRequest) -> (covey.test.v1.NothingResponse)`,
    ]);
    const json = lines(await call([unix, "--list", "--json"]));
    assert.equal(json.length, text.stdout.trimEnd().split("\n").length);
    const info = json.find((line) =>
      (line as { method: string }).method === "covey.node.v1.Node/Info"
    );
    assert.deepEqual(info, {
      method: "covey.node.v1.Node/Info",
      kind: "unary",
      input: "covey.node.v1.InfoRequest",
      output: "covey.node.v1.InfoResponse",
    });
  }));

test("call: a descriptor set of buf describes what the server does not", () =>
  withTarget(async ({ tcp, folder }) => {
    const set = `${folder}/test.binpb`;
    await buildDescriptorSet(set);
    const run = await call([tcp, `${service}/Count`, '{"count":1}', "--proto", set]);
    assert.deepEqual(run, { code: 0, stdout: '{"index":0,"payload":""}\n', stderr: "" });
    // It is the set that is listed then, and nobody is asked.
    const list = await call(["tcp://127.0.0.1:1", "--list", "--proto", set, "--json"]);
    assert.deepEqual(lines(list).map((line) => (line as { kind: string }).kind), [
      ...["unary", "server_streaming", "client_streaming", "bidi_streaming"],
      ...["unary", "server_streaming", "unary"],
    ]);
    // A set that lacks the service is not mended by asking.
    const other = await call([tcp, "grpc.health.v1.Health/Check", "{}", "--proto", set]);
    assert.equal(other.code, 2);
    assert.match(
      other.stderr,
      /^covey: there is no service "grpc\.health\.v1\.Health" in .*binpb /,
    );
  }));

test("call: TLS with the three files, and what is said when they do not fit", async () => {
  const certificates = await makeCertificates();
  await withTarget(async ({ folder }) => {
    const write = (name: "good" | "renewed" | "rogue"): string[] => {
      writeFileSync(`${folder}/${name}.crt`, certificates[name].certificate);
      writeFileSync(`${folder}/${name}.key`, certificates[name].key);
      writeFileSync(`${folder}/ca.crt`, certificates.authorities);
      return [
        ...["--certificate-file", `${folder}/${name}.crt`, "--key-file", `${folder}/${name}.key`],
        ...["--authorities-file", `${folder}/ca.crt`],
      ];
    };
    const good = write("good");
    const tls = {
      mode: "on",
      certificate_file: good[1],
      key_file: good[3],
      authorities_file: good[5],
    } as const;
    await withTarget(async ({ tcp }) => {
      const method = "grpc.health.v1.Health/Check";
      const known = await call([tcp, method, ...write("renewed")]);
      assert.deepEqual(known, { code: 0, stdout: '{"status":"SERVING"}\n', stderr: "" });
      const plain = await call([tcp, method, "{}"]);
      assert.equal(plain.code, 4);
      assert.match(
        plain.stderr,
        /^covey: tcp:\S+ hung up without an answer \(.*\); a server that wants TLS is called with --/,
      );
      const stranger = await call([tcp, method, ...write("rogue")]);
      assert.ok(stranger.code === 4 || stranger.code === 5, stranger.stderr);
      assert.match(stranger.stderr, /certificate/);
      assert.equal(stranger.stdout, "");
    }, { dev: false, node: { listen: ["tcp://127.0.0.1:0"], memory_only: true }, tls });
  });
});

test("call: a reader that goes away ends a long stream without a word", () =>
  withTarget(async ({ tcp }) => {
    const request = '{"count":1000000,"bytes":1000}';
    const child = spawnCli(["call", tcp, `${service}/Count`, request]);
    const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
    let stderr = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => stderr += text);
    child.stdout?.once("data", () => child.stdout?.destroy());
    const code = await new Promise((resolve) => child.once("close", resolve));
    clearTimeout(limit);
    assert.equal(stderr, "");
    assert.equal(code, 1);
  }));

test("call: Ctrl-C ends a stream that nobody else would", () =>
  withTarget(async ({ tcp }) => {
    const child = spawnCli(["call", tcp, "grpc.health.v1.Health/Watch", "{}"]);
    const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
    child.stdout?.once("data", () => process.kill(child.pid!, "SIGINT"));
    const [code, signal] = await new Promise<[unknown, unknown]>((resolve) =>
      child.once("close", (...how) => resolve(how))
    );
    clearTimeout(limit);
    // Deno's children report the signal as 128 + 2.
    assert.ok(signal === "SIGINT" || code === 130, `${code} ${signal}`);
  }));
