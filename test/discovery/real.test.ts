/** Multicast and look-ups on real sockets, where the kernel has them. */
import assert from "node:assert/strict";
import dgram from "node:dgram";
import { test } from "node:test";
import { parseSeed } from "../../src/discovery/core/seed.ts";
import { DnsDiscovery, type DnsSeed } from "../../src/discovery/dns.ts";
import { LanDiscovery, type LanOptions } from "../../src/discovery/lan.ts";
import { DnsServer } from "../../src/dns/server.ts";
import { pickRuntime } from "../compliance/real.ts";
import { smallView } from "../dns/support.ts";
import { partsOf, Sink } from "./support.ts";

const createRuntime = await pickRuntime();

interface Multicast {
  readonly host: string;
  readonly group: string;
  readonly interface: string;
}

const ipv4: Multicast = { host: "0.0.0.0", group: "239.255.80.46", interface: "127.0.0.1" };
const ipv6: Multicast = { host: "::", group: "ff01::7946", interface: "::1%lo" };

/** Whether a datagram to the group comes back over loopback; otherwise why not. */
function lacks({ host, group, interface: over }: Multicast): Promise<string | false> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket({ type: host === "::" ? "udp6" : "udp4", reuseAddr: true });
    const end = (outcome: string | false): void => {
      clearTimeout(limit);
      socket.removeAllListeners("error");
      socket.on("error", () => {});
      try {
        socket.close();
      } catch {
        // It never was open.
      }
      resolve(outcome);
    };
    const limit = setTimeout(() => end(`what is sent to ${group} does not come back`), 1000);
    const failed = (): void => end(`no multicast to ${group} over ${over}`);
    socket.on("error", failed);
    socket.on("message", () => end(false));
    socket.bind(0, host, () => {
      try {
        socket.addMembership(group, over);
        socket.setMulticastInterface(over);
        socket.setMulticastLoopback(true);
        socket.send("x", socket.address().port, group, (error) => {
          if (error !== null && error !== undefined) failed();
        });
      } catch {
        failed();
      }
    });
  });
}

/** A port that nobody has at the moment. */
function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket(host === "::" ? "udp6" : "udp4");
    socket.on("error", reject);
    socket.bind(0, host, () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

/** A sink with a promise for what it is to get. */
class Awaited extends Sink {
  readonly #want: string[];
  #resolve: () => void = () => {};
  readonly found: Promise<void>;

  constructor(...want: string[]) {
    super();
    this.#want = want.sort();
    this.found = new Promise((resolve) => this.#resolve = resolve);
  }

  readonly hear = (candidates: Parameters<Sink["take"]>[0]): void => {
    this.take(candidates);
    if ([...this.last].sort().join() === this.#want.join()) this.#resolve();
  };
}

for (const [family, multicast] of Object.entries({ IPv4: ipv4, IPv6: ipv6 })) {
  const lacking = await lacks(multicast);
  const skip = lacking === false ? false : lacking;
  const label = skip === false ? "" : ` (skipped: ${skip})`;
  test(`lan discovery: three nodes over ${family} on one machine${label}`, { skip }, async () => {
    const runtime = createRuntime();
    const options: Partial<LanOptions> = {
      group: multicast.group,
      port: await freePort(multicast.host),
      interface: multicast.interface,
    };
    const addresses = [1, 2, 3].map((at) => `tcp://127.0.0.1:${at}`);
    const nodes = addresses.map((address) => {
      const sink = new Awaited(...addresses.filter((other) => other !== address));
      const parts = partsOf(runtime);
      const discovery = new LanDiscovery({ ...parts, address, cluster: () => "c" }, options);
      return { sink, parts, discovery };
    });
    try {
      for (const { discovery, sink } of nodes) discovery.start(sink.hear);
      await Promise.all(nodes.map(({ sink }) => sink.found));
      for (const { parts } of nodes) {
        const { heard, garbage, otherCluster, sendErrors } = parts.counters;
        assert.ok(heard >= 2);
        assert.deepEqual([garbage, otherCluster, sendErrors], [0, 0, 0]);
      }
    } finally {
      for (const { discovery } of nodes) discovery.stop();
    }
  });
}

test("lan discovery: an interface that is not there is told of and survived", async () => {
  const parts = partsOf(createRuntime());
  const warned = new Promise<void>((resolve) => {
    const { logger } = parts;
    const warning = logger.warning.bind(logger);
    logger.warning = (message, fields) => {
      warning(message, fields);
      resolve();
    };
  });
  const own = { address: "tcp://127.0.0.1:1", cluster: () => "" };
  const discovery = new LanDiscovery({ ...parts, ...own }, {
    interface: "192.0.2.77",
    port: 50_946,
  });
  discovery.start(() => assert.fail("nobody is there"));
  await warned;
  discovery.stop();
  assert.equal(parts.logger.lines.length, 1);
  assert.equal(parts.counters.joinsFailed, 1);
});

test("dns discovery: a cluster's own DNS server tells where its members are", async () => {
  const runtime = createRuntime();
  const parts = partsOf(runtime);
  const { net, clock, random, logger } = parts;
  const server = new DnsServer(
    { net, clock, random, logger, view: () => smallView },
    { host: "127.0.0.1", port: 0 },
  );
  await server.start();
  const at = { server: { host: "127.0.0.1", port: server.port } };
  const seeds = {
    "srv://_kv._tcp.service.covey": [
      "tcp://gw1.node.covey:7946",
      "tcp://gw2.node.covey:7000",
      "tcp://gw3.node.covey:7946",
      "tcp://gw4.plant.example:7946",
    ],
    "dns://kv.service.covey:7946": [
      "tcp://10.0.0.1:7946",
      "tcp://10.0.0.2:7946",
      "tcp://[2001:db8::3]:7946",
    ],
  };
  try {
    for (const [text, expected] of Object.entries(seeds)) {
      const sink = new Awaited(...expected);
      const discovery = new DnsDiscovery(parts, parseSeed(text) as DnsSeed, at);
      discovery.start(sink.hear);
      await sink.found;
      discovery.stop();
    }
  } finally {
    server.stop();
  }
});
