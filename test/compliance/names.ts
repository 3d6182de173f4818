/** Looking names up. */
import assert from "node:assert/strict";
import { lookupsMax, type NameKind, type ServiceRecord } from "../../src/base/name_lookup.ts";
import { parseIp } from "../../src/base/ip_address.ts";
import { compliance, type Harness, kindOf, pass, within, type World } from "./harness.ts";

const timeoutMs = 5_000;
const services: readonly ServiceRecord[] = [
  { priority: 1, weight: 10, port: 7946, target: "gw1.covey.example" },
  { priority: 2, weight: 0, port: 65535, target: "gw-2.covey.example" },
];
const table = {
  "covey.example": {
    A: ["192.0.2.1", "192.0.2.255"],
    AAAA: ["2001:db8:0:0:0:0:0:1"],
  },
  "gw1.covey.example": { A: ["192.0.2.3"] },
  "_covey._tcp.example": { SRV: services },
};

/** Declares the cases of this area. */
export function nameCompliance(harness: Harness): void {
  systemCases(harness);
  answerCases(harness);
  endCases(harness);
}

function systemCases(harness: Harness): void {
  compliance(harness, "names: what this machine calls itself", async ({ runtime }) => {
    const found = await runtime.net.resolve({ name: "localhost", kind: "A", timeoutMs });
    assert.ok(found.includes("127.0.0.1"), found.join());
    assert.ok(found.every((address) => parseIp(address)?.length === 4), found.join());
  }, "names");

  compliance(harness, "names: nobody has a name of the invalid domain", async ({ runtime }) => {
    for (const kind of ["A", "AAAA"] as const) {
      const lookup = runtime.net.resolve({ name: "no-such-host.invalid", kind, timeoutMs });
      assert.equal(await kindOf(lookup), "not-found", kind);
    }
  }, "names");

  compliance(harness, "names: what is no host name is not looked up", async ({ runtime }) => {
    const names = ["", ".", "a b", "a..b", ".a", "192.0.2.1", "::1", "a.1", "x".repeat(64), "é"];
    names.push(`${"abcdefghi.".repeat(25)}abcd`, "a/b", "a:1");
    for (const name of names) {
      for (const kind of ["A", "AAAA", "SRV"] as const) {
        const lookup = runtime.net.resolve({ name, kind, timeoutMs });
        assert.equal(await kindOf(lookup), "invalid", `${kind} of ${JSON.stringify(name)}`);
      }
    }
  });
}

function answerCases(harness: Harness): void {
  compliance(harness, "names: addresses and services of a name server", async (world) => {
    const { net } = world.runtime;
    const server = await world.nameServer!(table, "answers");
    const common = { timeoutMs, server };
    const v4 = await net.resolve({ ...common, name: "covey.example", kind: "A" });
    assert.deepEqual([...v4].sort(), table["covey.example"].A);
    const v6 = await net.resolve({ ...common, name: "covey.example", kind: "AAAA" });
    assert.deepEqual(v6.map((one) => parseIp(one)), table["covey.example"].AAAA.map(parseIp));
    const srv = await net.resolve({ ...common, name: "_covey._tcp.example", kind: "SRV" });
    const sorted = [...srv].sort((a, b) => a.priority - b.priority);
    assert.deepEqual(sorted.map((one) => ({ ...one })), services);
  }, "nameServer");

  compliance(harness, "names: case means nothing, and a dot may end them", async (world) => {
    const server = await world.nameServer!(table, "answers");
    for (const name of ["GW1.Covey.EXAMPLE", "gw1.covey.example."]) {
      const found = await world.runtime.net.resolve({ name, kind: "A", timeoutMs, server });
      assert.deepEqual([...found], ["192.0.2.3"], name);
    }
  }, "nameServer");

  compliance(harness, "names: no such name, and nothing of this kind", async (world) => {
    const server = await world.nameServer!(table, "answers");
    const questions: [string, NameKind][] = [
      ["nobody.example", "A"],
      ["nobody.example", "SRV"],
      ["gw1.covey.example", "AAAA"],
      ["gw1.covey.example", "SRV"],
      ["_covey._tcp.example", "A"],
    ];
    for (const [name, kind] of questions) {
      const lookup = world.runtime.net.resolve({ name, kind, timeoutMs, server });
      assert.equal(await kindOf(lookup), "not-found", `${kind} of ${name}`);
    }
  }, "nameServer");

  compliance(harness, "names: a name server that fails is an error", async (world) => {
    const server = await world.nameServer!(table, "fails");
    for (const kind of ["A", "SRV"] as const) {
      const lookup = world.runtime.net.resolve({ name: "covey.example", kind, timeoutMs, server });
      // Deno does not tell a failure from a name that nobody has.
      const found = await kindOf(lookup);
      assert.ok(["other", "not-found"].includes(found), `${kind}: ${found}`);
    }
  }, "nameServer");
}

function endCases(harness: Harness): void {
  const silent = async (world: World) => {
    const server = await world.nameServer!({}, "silent");
    return (more: { timeoutMs: number; signal?: AbortSignal; kind?: NameKind }) =>
      kindOf(
        world.runtime.net.resolve({ name: "covey.example", kind: "A", server, ...more }),
      );
  };

  compliance(harness, "names: a silent name server is a time-out", async (world) => {
    const { clock } = world.runtime;
    const lookUp = await silent(world);
    for (const kind of ["A", "SRV"] as const) {
      const startMs = clock.monotonicMs();
      assert.equal(await lookUp({ kind, timeoutMs: 60 }), "timeout");
      const tookMs = clock.monotonicMs() - startMs;
      assert.ok(tookMs >= 59 && tookMs < 2_000, `${tookMs} ms`);
    }
  }, "nameServer");

  compliance(harness, "names: the caller ends a look-up", async (world) => {
    const { clock } = world.runtime;
    const lookUp = await silent(world);
    const controller = new AbortController();
    const outcome = lookUp({ timeoutMs: 60_000, signal: controller.signal });
    await pass(world.runtime, 20);
    const startMs = clock.monotonicMs();
    controller.abort();
    assert.equal(await within(world.runtime, "the end", outcome), "aborted");
    assert.ok(clock.monotonicMs() - startMs < 1_000);
    assert.equal(await lookUp({ timeoutMs, signal: controller.signal }), "aborted");
  }, "nameServer");

  compliance(harness, "names: look-ups in flight are bounded", async (world) => {
    const lookUp = await silent(world);
    const all = Array.from({ length: lookupsMax }, () => lookUp({ timeoutMs: 400 }));
    assert.equal(await lookUp({ timeoutMs: 400 }), "limit");
    assert.deepEqual(new Set(await Promise.all(all)), new Set(["timeout"]));
    // Their places are free soon, though not necessarily at once.
    let last = "limit";
    for (let round = 0; round < 100 && last === "limit"; round++) {
      await pass(world.runtime, 20);
      last = await lookUp({ timeoutMs: 20 });
    }
    assert.equal(last, "timeout");
  }, "nameServer");

  compliance(harness, "names: look-ups that their callers ended make room", async (world) => {
    const lookUp = await silent(world);
    const controller = new AbortController();
    const { signal } = controller;
    const all = Array.from({ length: lookupsMax }, () => lookUp({ timeoutMs: 60_000, signal }));
    await pass(world.runtime, 20);
    controller.abort();
    assert.deepEqual(new Set(await Promise.all(all)), new Set(["aborted"]));
    let last = "limit";
    for (let round = 0; round < 100 && last === "limit"; round++) {
      await pass(world.runtime, 20);
      last = await lookUp({ timeoutMs: 20 });
    }
    assert.equal(last, "timeout");
  }, "nameServer");
}
