/** What `covey call` says to people who make mistakes, and to those whose server is not there. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { openSilentPort } from "../support/silent_port.ts";
import { call, service, withTarget } from "./call_support.ts";

interface Mistake {
  readonly args: readonly string[];
  readonly input?: string;
  readonly code: number;
  /** The one line on standard error without "covey: " in front. */
  readonly says: string | RegExp;
}

/** Two at a time: each is a process. */
async function check(mistakes: readonly Mistake[]): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let mistake = mistakes[next++]; mistake !== undefined; mistake = mistakes[next++]) {
      const { args, input, code, says } = mistake;
      const run = await call(args, input);
      const where = `covey call ${args.join(" ")}`;
      const [line, ...rest] = run.stderr.trimEnd().split("\n");
      if (typeof says === "string") assert.equal(line, `covey: ${says}`, where);
      else assert.match(line.replace(/^covey: /, ""), says, where);
      assert.ok(rest.length === 0 || rest[0].startsWith('covey: run "covey call --help"'), where);
      assert.deepEqual([run.code, run.stdout], [code, ""], `${where}\n${run.stderr}`);
    }
  };
  await Promise.all([work(), work()]);
}

test("call: input that is not JSON, or not the message, is named by line, column and field", () =>
  withTarget(async ({ tcp }) => {
    const [echo, sum] = [`${service}/Echo`, `${service}/Sum`];
    const of = (
      method: string,
      args: string[],
      input: string | undefined,
      says: Mistake["says"],
    ) => ({
      args: [tcp, method, ...args],
      input,
      code: 2,
      says,
    });
    await check([
      of(
        sum,
        [],
        '{"value":1}\n{"value":}\n{"value":3}\n',
        'standard input, line 2, column 10: this is not valid JSON: found "}" where a value belongs',
      ),
      of(
        sum,
        ["-"],
        '{"value":1}\n\n{"valu":3}\n',
        'standard input, line 3: covey.test.v1.SumRequest has no field "valu"; did you mean value?',
      ),
      of(
        sum,
        ["-"],
        '{"value":1.5}',
        /^standard input, line 1: cannot decode field covey\.test\.v1\.SumRequest\.value from JSON: /,
      ),
      of(
        `${service}/Chat`,
        ["{}\n5"],
        undefined,
        "the argument, line 2: covey.test.v1.EchoRequest is a JSON object, and this is 5",
      ),
      of(
        echo,
        ['{"payload": "a",\n "delayMillis": }'],
        undefined,
        'the argument, line 2, column 17: this is not valid JSON: found "}" where a value belongs',
      ),
      of(
        echo,
        ['{"payload":"!!"}'],
        undefined,
        /^the argument, line 1: cannot decode field covey\.test\.v1\.EchoRequest\.payload /,
      ),
      of(
        echo,
        ['{"delay_milis":1}'],
        undefined,
        'the argument, line 1: covey.test.v1.EchoRequest has no field "delay_milis"; did you mean ' +
          "delayMillis?",
      ),
      of(
        `${service}/Nothing`,
        ['{"a":1}'],
        undefined,
        'the argument, line 1: covey.test.v1.NothingRequest has no field "a"; it has no fields at all',
      ),
      of(
        echo,
        ["-"],
        "{}\n{}",
        'standard input, line 2, column 1: this is not valid JSON: found "{" where the end of the ' +
          "file belongs",
      ),
      of(
        echo,
        ["hello"],
        undefined,
        'the argument, line 1, column 1: this is not valid JSON: found "hello" where a value belongs',
      ),
    ]);
  }));

test("call: what the call itself gets wrong", () =>
  withTarget(async ({ tcp, unix, folder }) => {
    const echo = `${service}/Echo`;
    writeFileSync(`${folder}/text`, "hello");
    const usage = (args: string[], says: Mistake["says"]): Mistake => ({ args, code: 2, says });
    const schemes = "allowed: tcp://host:port, unix:/path, unix://@abstract, vsock://cid:port";
    await check([
      usage([], /^ADDRESS is missing$/),
      usage(
        [tcp],
        "name the method as package.Service/Method; --list shows what the server serves",
      ),
      usage(
        [tcp, "covey.node.v1.Node.Info"],
        'name the method as package.Service/Method, not as "covey.node.v1.Node.Info"; --list shows ' +
          "what the server serves",
      ),
      usage([tcp, echo, "{}", "{}"], /^"\{\}" is one argument too many$/),
      usage([tcp, echo, "--list"], "--list takes an address and nothing else"),
      usage(
        [tcp, `${service}/Ecko`],
        `service ${service} has no method "Ecko" (did you mean Echo?)`,
      ),
      usage(
        [tcp, "covey.test.v1.TestServce/Echo"],
        'there is no service "covey.test.v1.TestServce" in what the server serves (did you mean ' +
          "covey.test.v1.TestService?); give its descriptors with --proto SET, as buf build -o or " +
          "protoc -o writes them",
      ),
      usage(
        [tcp, "x/y"],
        /^there is no service "x" in what the server serves \(only covey\.cache/,
      ),
      usage(
        ["127.0.0.1:7946", echo],
        'address "127.0.0.1:7946": unknown or missing scheme; ' +
          `${schemes}; did you mean tcp://127.0.0.1:7946?`,
      ),
      usage(["http://127.0.0.1:7946/", echo], /; did you mean tcp:\/\/127\.0\.0\.1:7946\?$/),
      usage(["http://127.0.0.1:7946/x", echo], /unknown or missing scheme; .* vsock:\S+$/),
      usage(
        ["tcp://127.0.0.1", echo],
        `address "tcp://127.0.0.1": the port is missing; ${schemes}`,
      ),
      usage(
        ["vsock://2:1", echo],
        /^address "vsock:\/\/2:1": \w+ [\d.]+ has no vsock sockets here$/,
      ),
      usage([tcp, echo, "--timeout", "5"], '--timeout "5": give a duration such as 500ms or 5s'),
      usage([tcp, echo, "--timeout", "0s"], /^--timeout "0s": give a duration/),
      usage([tcp, echo, "--metadata", "a"], '--metadata "a": give it as key=value'),
      usage([tcp, echo, "--metadata", "=a"], '--metadata "=a": give it as key=value'),
      usage([tcp, echo, "--proto", `${folder}/no`], `--proto ${folder}/no: there is no such file`),
      usage(
        [tcp, echo, "--proto", folder],
        `--proto ${folder}: this is a folder; name the file in it`,
      ),
      usage(
        [tcp, echo, "--proto", `${folder}/text`],
        /\/text is no descriptor set \(.*\); write one/,
      ),
      usage(
        [tcp, echo, "--key-file", "k"],
        "TLS needs all of --certificate-file, --key-file, --authorities-file",
      ),
      usage(
        [
          ...[tcp, echo, "--key-file", `${folder}/no`],
          ...["--certificate-file", `${folder}/no`, "--authorities-file", `${folder}/no`],
        ],
        /^--[a-z]+-file \S+\/no: there is no such file$/,
      ),
      usage(
        [
          ...[tcp, echo, "--key-file", `${folder}/text`],
          ...["--certificate-file", `${folder}/text`, "--authorities-file", `${folder}/text`],
        ],
        /^--[a-z]+-file \S+\/text: this is no PEM file$/,
      ),
      usage(
        [unix, echo, "--key-file", "k", "--certificate-file", "k", "--authorities-file", "k"],
        "--certificate-file is for tcp:// addresses: a unix socket has no TLS",
      ),
    ]);
  }));

test("call: a server that is not there, not one of ours, or not open to us", () =>
  withTarget(async ({ tcp, folder }) => {
    const health = "grpc.health.v1.Health/Check";
    const web = createServer((_request, response) => response.end("hello"));
    await new Promise<void>((resolve) => web.listen(0, "127.0.0.1", resolve));
    const http = `tcp://127.0.0.1:${(web.address() as AddressInfo).port}`;
    const silent = await openSilentPort();
    const away = `tcp://127.0.0.1:${silent.port}`;
    try {
      const fails = (code: number, args: string[], says: Mistake["says"]): Mistake => ({
        args,
        code,
        says,
      });
      await check([
        fails(
          4,
          ["tcp://127.0.0.1:1", health],
          "cannot reach tcp://127.0.0.1:1: nothing listens there (unavailable)",
        ),
        fails(
          4,
          [`unix:${folder}/no.sock`, health],
          `cannot reach unix:${folder}/no.sock: there is no such socket (unavailable)`,
        ),
        fails(
          4,
          [away, health, "--timeout", "200ms"],
          new RegExp(`^cannot reach ${away}: .*(unavailable)`),
        ),
        fails(4, [http, health], new RegExp(`^what listens on ${http} does not speak ttrpc: .*`)),
        fails(4, [http, "--list"], new RegExp(`^what listens on ${http} does not speak ttrpc: .*`)),
        fails(
          1,
          [tcp, `${service}/Echo`, '{"delayMillis":9000}', "--timeout", "500ms"],
          /deadline/,
        ),
      ]);
    } finally {
      silent.close();
      web.close();
    }
    await withTarget(async (closed) => {
      const needs =
        /^health\.read on node needs an identity: .* a certificate of the cluster \(unauthenticated\)$/;
      await check([
        { args: [closed.tcp, health], code: 5, says: needs },
        { args: [closed.tcp, "--list"], code: 5, says: /^node\.read on node needs an identity/ },
        { args: [closed.tcp, "a.B/C"], code: 5, says: /^node\.read on node needs an identity/ },
      ]);
    }, { dev: false, node: { listen: ["tcp://127.0.0.1:0"], memory_only: true } });
  }));
