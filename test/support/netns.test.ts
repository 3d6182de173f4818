/** The network of namespaces that the tests of partitions stand on. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { NamespaceNetwork, netnsMissing } from "./netns.ts";

/** What a host's kernel has counted. */
interface Counted {
  readonly received: number;
  readonly refused: number;
}

function inside(network: NamespaceNetwork, index: number, command: readonly string[]): {
  status: number | null;
  stdout: string;
  stderr: string;
} {
  const [program, ...args] = network.wrap(command, index);
  return spawnSync(program, args, { encoding: "utf8", timeout: 10_000 });
}

/** A dial to a port where nobody listens: refused when both ways are open, else silence. */
function dial(network: NamespaceNetwork, from: number, to: number): "refused" | "silence" {
  const script = `exec 3<>/dev/tcp/${network.host(to)}/9`;
  const { status, stderr } = inside(network, from, ["timeout", "0.2", "bash", "-c", script]);
  if (status === 124) return "silence";
  assert.match(stderr, /Connection refused/);
  return "refused";
}

function counted(network: NamespaceNetwork, index: number): Counted {
  const { stdout } = inside(network, index, ["cat", "/proc/net/snmp"]);
  const [names, values] = stdout.split("\n").filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(" "));
  const field = (name: string): number => Number(values[names.indexOf(name)]);
  return { received: field("InSegs"), refused: field("OutRsts") };
}

/** What the other side saw of a dial. */
function seenBy(network: NamespaceNetwork, from: number, to: number): Counted & { dial: string } {
  const before = counted(network, to);
  const answer = dial(network, from, to);
  const now = counted(network, to);
  return {
    dial: answer,
    received: now.received - before.received,
    refused: now.refused - before.refused,
  };
}

test(
  "network namespaces: each direction is cut by itself, and heals",
  { skip: netnsMissing() ?? (existsSync("/bin/bash") ? false : "there is no bash") },
  async () => {
    const network = await NamespaceNetwork.open(3);
    try {
      const everyWay = (): string[] =>
        [[0, 1], [1, 0], [0, 2], [2, 0], [1, 2], [2, 1]]
          .filter(([from, to]) => dial(network, from, to) === "refused").map(String);
      const all = ["0,1", "1,0", "0,2", "2,0", "1,2", "2,1"];
      assert.deepEqual(everyWay(), all);
      await network.cut(0, 1);
      assert.deepEqual(seenBy(network, 0, 1), { dial: "silence", received: 0, refused: 0 });
      // What 1 sends still arrives at 0, whose answer does not.
      const back = seenBy(network, 1, 0);
      assert.equal(back.dial, "silence");
      assert.ok(back.received > 0 && back.refused === back.received, JSON.stringify(back));
      assert.deepEqual(everyWay(), all.slice(2));
      await network.heal();
      assert.deepEqual(everyWay(), all);
      await network.part([2], [0, 1]);
      assert.deepEqual(everyWay(), all.slice(0, 2));
      assert.deepEqual(seenBy(network, 2, 0), { dial: "silence", received: 0, refused: 0 });
    } finally {
      network.close();
    }
  },
);
