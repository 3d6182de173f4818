/** The compliance suite on the simulator: the same cases, and somebody turns the wheel of time. */
import { after, before, describe } from "node:test";
import type { Address } from "../../src/base/address.ts";
import { roughFaults } from "../../src/runtime/sim/faults.ts";
import type { SimHost } from "../../src/runtime/sim/host.ts";
import { createSimulation, type SimulationOptions } from "../../src/runtime/sim/simulation.ts";
import { wallStartMs } from "../../src/runtime/sim/clock.ts";
import type { CertificateSet, Pair } from "../support/certificates.ts";
import { armBan, liftBan } from "../simulation/ban.ts";
import { clockCompliance } from "./clock.ts";
import { deniedCompliance } from "./denied.ts";
import { dialCompliance } from "./dial.ts";
import { diskCompliance } from "./disk.ts";
import type { Harness, World } from "./harness.ts";
import { hostCompliance } from "./host.ts";
import { httpCompliance } from "./http.ts";
import { nameCompliance } from "./names.ts";
import { netCompliance } from "./net.ts";
import { runProgram } from "./programs.ts";
import { tlsCompliance } from "./tls.ts";
import { leakCompliance } from "./leaks.ts";
import { udpCompliance } from "./udp.ts";

before(armBan);
after(liftBan);

const dayMs = 86_400_000;
const localNames = [
  "DNS:localhost",
  "IP:127.0.0.1",
  "IP:::1",
  "URI:covey:node:00112233445566778899aabbccddeeff",
];

function createWorld(options: SimulationOptions): World {
  const simulation = createSimulation(options);
  const machine = simulation.machine("a", { directory: "/work" });
  const { runtime } = machine;
  simulation.program("program", runProgram);
  simulation.program("broken pipe", (child) => {
    (child.host as SimHost).closeOutput();
    return runProgram(child);
  });
  return {
    runtime,
    directory: "/work",
    run: (body) => simulation.wait(body),
    close: () => Promise.resolve(),
    certificates() {
      const make = (
        commonName: string,
        more: { authority?: string; names?: string[]; notAfterMs?: number } = {},
      ): Pair => {
        const names = more.names ?? localNames;
        const notAfterMs = more.notAfterMs ?? wallStartMs + dayMs;
        const identity = simulation.identity({ commonName, ...more, names, notAfterMs });
        return { ...identity, commonName, names, notAfterMs };
      };
      const set: CertificateSet = {
        authorities: simulation.identity().authorities,
        otherAuthorities: simulation.identity({ authority: "other" }).authorities,
        good: make("good"),
        renewed: make("renewed"),
        rogue: make("rogue", { authority: "other" }),
        expired: make("expired", { notAfterMs: wallStartMs - dayMs / 2 }),
        wrongName: make("wrong", { names: ["DNS:elsewhere.example"] }),
        trickyName: make("tricky", {
          names: ["URI:covey:x, DNS:localhost, IP Address:127.0.0.1"],
        }),
      };
      return Promise.resolve(set);
    },
    nameServer(table, mode) {
      for (const [name, records] of Object.entries(table)) simulation.names.set(name, records);
      simulation.names.mode = mode;
      return Promise.resolve({ host: "192.0.2.53", port: 53 });
    },
    silentAddress() {
      const silent = simulation.machine("silent");
      simulation.partition(machine, silent);
      const address: Address = { kind: "tcp", host: silent.ip, port: 1000 };
      return Promise.resolve(address);
    },
    async staleUnixPath() {
      // A second process listens and is killed: its file stays.
      const path = "/work/stale";
      simulation.program("listen", async (other) => {
        await other.net.listen({
          address: { kind: "unix", path },
          handler: { open() {}, data() {}, drain() {}, end() {}, close() {} },
          state: () => undefined,
          connectionsMax: 1,
        });
        await other.host.stdout("ready");
        await new Promise<void>(() => {});
      });
      let ready: () => void = () => {};
      const listens = new Promise<void>((resolve) => ready = resolve);
      const child = await runtime.host.spawn({ command: "listen", args: [], stdout: ready });
      await listens;
      child.kill("SIGKILL");
      await child.exit;
      return path;
    },
    program: (name, ...args) => ({ command: "program", args: [name, ...args] }),
    brokenPipeProgram: (name, ...args) => ({ command: "broken pipe", args: [name, ...args] }),
    redirectedProgram(path, name, ...args) {
      const command = `redirected to ${path}`;
      simulation.program(command, (child) => {
        const file = machine.disk.tree.file(path);
        (child.host as SimHost).redirectOutput((bytes) => file.write(bytes, file.size));
        return runProgram(child);
      });
      return { command, args: [name, ...args] };
    },
    fullPath() {
      machine.disk.tree.createFile("/work/full", 0o600);
      machine.disk.quotaBytes = machine.disk.usedBytes();
      return "/work/full";
    },
    brokenPath() {
      machine.disk.tree.createFile("/work/broken", 0o600);
      machine.disk.failRead({ path: "/work/broken", times: Infinity });
      return "/work/broken";
    },
    forbid: (path) => machine.disk.deny(path),
    unprivilegedProgram: (name, ...args) => ({ command: "program", args: [name, ...args] }),
    deniedPath() {
      machine.disk.tree.createFile("/work/denied", 0o600);
      machine.disk.deny("/work/denied");
      return "/work/denied";
    },
  };
}

const lacks: Harness["lacks"] = {
  kernelTimers: "its kernels do not look for peers that are gone",
  resumption: "its TLS has no sessions",
  certificateless: "its TLS is a form of its own, not bytes on the stream",
  privilegedPort: "the simulator has no superuser",
  permissions: "the simulator grants everything",
  collector: "the simulator's programs share the engine's memory",
  processTable: "the simulator has no descriptors and no zombies",
  descriptorLimit: "the simulator has no descriptors",
  httpTls: "its HTTP has a syntax of its own",
  httpBytes: "its HTTP has a syntax of its own",
};

function sim(options: SimulationOptions): Harness {
  return { name: "sim", lacks, create: () => Promise.resolve(createWorld(options)) };
}

const suites = [
  netCompliance,
  dialCompliance,
  deniedCompliance,
  tlsCompliance,
  udpCompliance,
  nameCompliance,
  clockCompliance,
  diskCompliance,
  hostCompliance,
  httpCompliance,
  leakCompliance,
];

describe("calm", () => {
  for (const suite of suites) suite(sim({ seed: 1 }));
});

// A rough world keeps every promise, too. Left out is what ends connections, and partial writes,
// because the suite takes for granted that a few bytes fit.
describe("rough", () => {
  const seed = 2;
  const rough = { ...roughFaults, seed, connectionResetChance: 0, partialWriteChance: 0 };
  for (const suite of suites) suite(sim(rough));
});
