/** Commands that print what happens end when nobody reads it any more, not with the next event. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { covey } from "./node_support.ts";
import { withStore } from "./kv_support.ts";
import { engineArguments, mainFile } from "../support/cli.ts";

for (const args of [["watch", "a", "--rev", "2"], ["elect", "seat", "--listen"]]) {
  test(`kv ${args[0]}: a reader that leaves ends it though nothing happens`, () =>
    withStore(async ({ address }) => {
      const run = await covey(["kv", ...args, "--node", address], {
        onReader: (leave) => queueMicrotask(leave),
      });
      assert.deepEqual([run.code, run.stdout, run.stderr], [1, "", ""]);
    }));
}

test("kv watch with a command goes on without a reader", () =>
  withStore(async ({ address, kv }) => {
    await kv(["put", "a", "1"]);
    const run = await covey(["kv", "watch", "a", "--rev", "2", "--node", address, "--", "echo"], {
      onReader: (leave) => leave(),
      onOutput: (_, send) => send("SIGINT"),
    });
    assert.deepEqual([run.code, run.stdout, run.stderr], [0, "\n", ""]);
  }));

const hasEvent = process.platform === "linux" && !("Deno" in globalThis);

for (const [reader, shown] of [["head -1", "PUT\n"], ["true", ""]]) {
  test(`kv watch | ${reader} ends with its reader, as a process`, {
    skip: hasEvent ? false : "this engine has no event for it: the next write ends the command",
  }, () =>
    withStore(async ({ address, kv }) => {
      if (shown !== "") await kv(["put", "a", "1"]);
      const command = [process.execPath, ...engineArguments, mainFile];
      const watch = ["kv", "watch", "a", "--rev=2", "--node", address];
      const child = spawn("sh", ["-c", `"$@" | ${reader}`, "sh", ...command, ...watch], {
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      const timer = setTimeout(() => process.kill(-child.pid!, "SIGKILL"), 20_000);
      let text = "";
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (piece: string) => text += piece);
      }
      const code = await new Promise((resolve) => child.once("close", resolve));
      clearTimeout(timer);
      // The shell waits for both: the watch has ended without another event.
      assert.deepEqual([code, text], [0, shown]);
    }));
}
