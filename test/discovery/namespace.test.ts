/** Discovery by multicast on interfaces that come and go, in a network of the kernel's own. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { netnsMissing } from "../support/netns.ts";

const limitMs = 40_000;
const main = new URL("./lan_main.ts", import.meta.url).pathname;
const engine = "Bun" in globalThis ? ["run"] : ["run", "--allow-all", "--no-check", "--quiet"];
const unshare = ["--user", "--map-root-user", "--net", "--fork", "--kill-child"];
const missing = netnsMissing();
const skip = missing === undefined ? false : missing;

for (const family of ["IPv4", "IPv6"]) {
  const label = skip === false ? "" : ` (skipped: ${skip})`;
  const name = `lan discovery: an ${family} interface that comes, goes and comes back${label}`;
  test(name, { skip }, async () => {
    const args = [...unshare, process.execPath, ...engine, main, family];
    const child = spawn("unshare", args, { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Uint8Array) => stdout += String(chunk));
    child.stderr.on("data", (chunk: Uint8Array) => stderr += String(chunk));
    const limit = setTimeout(() => child.kill("SIGKILL"), limitMs);
    const code = await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    clearTimeout(limit);
    assert.deepEqual(
      stdout.trim().split("\n"),
      ["no interface", "found", "said so", "lost", "said so", "found", "said so"],
      stderr,
    );
    assert.equal(code, 0, stderr);
  });
}
