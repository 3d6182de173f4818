/** The server on real sockets, asked by the resolvers of others: dig, c-ares, Hickory. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { test } from "node:test";
import { silentLogger } from "../../src/base/log.ts";
import { DnsServer } from "../../src/dns/server.ts";
import type { DnsView } from "../../src/dns/core/directory.ts";
import type { Runtime } from "../../src/runtime/port.ts";
import { pickRuntime } from "../compliance/real.ts";
import { smallView, wideView } from "./support.ts";

const createRuntime = await pickRuntime();
const lacksDig = spawnSync("dig", ["-v"]).status === 0 ? false : "dig is not installed";

/** Serves a view on a free port of loopback while the body runs. */
async function serving(
  view: DnsView,
  body: (port: number, server: DnsServer, runtime: Runtime) => Promise<void>,
): Promise<void> {
  const runtime = createRuntime();
  const { net, clock, random } = runtime;
  const server = new DnsServer(
    { net, clock, random, logger: silentLogger, view: () => view },
    { host: "127.0.0.1", port: 0 },
  );
  await server.start();
  try {
    await body(server.port, server, runtime);
  } finally {
    server.stop();
  }
}

interface Dug {
  readonly text: string;
  readonly status: string;
  readonly flags: string;
  /** Records of the answer section, white space made single, sorted. */
  readonly answers: readonly string[];
}

function dig(port: number, ...args: string[]): Promise<Dug> {
  const child = spawn("dig", ["@127.0.0.1", "-p", `${port}`, "+tries=1", "+time=5", ...args]);
  let text = "";
  child.stdout.on("data", (chunk) => text += chunk);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => {
      const section = /;; ANSWER SECTION:\n([^]*?)\n\n/.exec(text)?.[1] ?? "";
      resolve({
        text,
        status: /status: (\w+)/.exec(text)?.[1] ?? "",
        flags: /flags: ([\w ]*);/.exec(text)?.[1] ?? "",
        answers: section === ""
          ? []
          : section.split("\n").map((line) => line.replace(/\s+/g, " ")).sort(),
      });
    });
  });
}

test("dns: dig reads what is answered", { skip: lacksDig }, async () => {
  await serving(smallView, async (port, server) => {
    const plain = await dig(port, "gw1.node.covey", "A");
    assert.deepEqual(plain.answers, ["gw1.node.covey. 0 IN A 10.0.0.1"]);
    assert.deepEqual([plain.status, plain.flags], ["NOERROR", "qr aa rd"]);
    // dig warns of whatever is odd about a message.
    assert.ok(!/malformed|mismatch|extra bytes|;; Got bad/i.test(plain.text), plain.text);

    const services = await dig(port, "_kv._tcp.service.covey", "SRV");
    assert.deepEqual(services.answers, [
      "_kv._tcp.service.covey. 0 IN SRV 1 1 7000 gw2.node.covey.",
      "_kv._tcp.service.covey. 0 IN SRV 1 1 7946 gw1.node.covey.",
      "_kv._tcp.service.covey. 0 IN SRV 1 1 7946 gw3.node.covey.",
      "_kv._tcp.service.covey. 0 IN SRV 1 1 7946 gw4.plant.example.",
    ]);
    assert.match(services.text, /gw2\.node\.covey\.\s+0\s+IN\s+A\s+10\.0\.0\.2/);
    assert.match(services.text, /gw3\.node\.covey\.\s+0\s+IN\s+AAAA\s+2001:db8::3/);

    const alias = await dig(port, "gw4.node.covey");
    assert.deepEqual(alias.answers, ["gw4.node.covey. 0 IN CNAME gw4.plant.example."]);
    assert.deepEqual((await dig(port, "covey", "SOA")).answers, [
      "covey. 0 IN SOA gw1.node.covey. hostmaster.covey. 7 3600 600 86400 0",
    ]);
    assert.deepEqual((await dig(port, "covey", "ANY", "+notcp")).answers, [
      'covey. 0 IN HINFO "RFC8482" ""',
    ]);
    assert.equal((await dig(port, "nobody.node.covey")).status, "NXDOMAIN");
    const noData = await dig(port, "gw1.node.covey", "AAAA");
    assert.equal(noData.status, "NOERROR");
    assert.match(noData.text, /AUTHORITY SECTION:\ncovey\.\s+0\s+IN\s+SOA/);
    assert.equal((await dig(port, "example.com")).status, "REFUSED");
    assert.equal((await dig(port, "version.bind", "CH", "TXT")).status, "REFUSED");
    assert.equal((await dig(port, "covey", "AXFR")).status, "");
    assert.equal((await dig(port, "gw1.node.covey", "+edns=1", "+noednsneg")).status, "BADVERS");
    assert.equal((await dig(port, "gw1.node.covey", "+opcode=NOTIFY")).status, "NOTIMP");
    const overTcp = await dig(port, "+tcp", "kv.service.covey");
    assert.equal(overTcp.answers.length, 2);
    assert.match(overTcp.text, /\(TCP\)/);
    assert.ok(server.counters.tcpConnections >= 2);
  });
});

test("dns: dig turns to TCP for what was cut", { skip: lacksDig }, async () => {
  await serving(wideView(60), async (port) => {
    const cut = await dig(port, "kv.service.covey", "SRV", "+noedns", "+ignore");
    assert.match(cut.flags, /\btc\b/);
    const whole = await dig(port, "kv.service.covey", "SRV", "+noedns");
    assert.match(whole.text, /Truncated, retrying in TCP mode/);
    assert.equal(whole.answers.length, 60);
  });
});

test("dns: the runtime's own resolver reads what is answered", async () => {
  await serving(smallView, async (port, _server, { net }) => {
    const common = { timeoutMs: 10_000, server: { host: "127.0.0.1", port } };
    const ask = { ...common, name: "kv.service.covey" };
    assert.deepEqual([...await net.resolve({ ...ask, kind: "A" })].sort(), [
      "10.0.0.1",
      "10.0.0.2",
    ]);
    assert.deepEqual([...await net.resolve({ ...ask, kind: "AAAA" })], ["2001:db8::3"]);
    const services = await net.resolve({ ...ask, kind: "SRV" });
    assert.deepEqual(services.map(({ target, port }) => `${target}:${port}`).sort(), [
      "gw1.node.covey:7946",
      "gw2.node.covey:7000",
      "gw3.node.covey:7946",
      "gw4.plant.example:7946",
    ]);
    const gone = net.resolve({ ...common, name: "nobody.service.covey", kind: "A" });
    await assert.rejects(gone, { kind: "not-found" });
  });
});

test("dns: the runtime's own resolver turns to TCP for what was cut", async () => {
  await serving(wideView(120), async (port, server, { net }) => {
    const common = { timeoutMs: 10_000, server: { host: "127.0.0.1", port } };
    const services = await net.resolve({ ...common, name: "kv.service.covey", kind: "SRV" });
    // A resolver that takes 1,232 bytes is content with the 16 that fit.
    assert.ok(services.length === 120 || services.length === 16, `${services.length}`);
    assert.ok(server.counters.udp.answered > 0);
  });
});
