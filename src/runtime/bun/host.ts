/** The process and the machine around it. */
import fs from "node:fs";
import os from "node:os";
import process from "node:process";
import { encodeText } from "../../base/bytes.ts";
import { codeOf } from "../error.ts";
import { type Host, NetError, type SignalName, type Subscription } from "../port.ts";
import { spawn } from "./child.ts";
import { Collector } from "./collector.ts";
import { bunEngine } from "./engine.ts";
import { netError } from "./error.ts";
import { onStdoutClosed } from "./output_closed.ts";

/** This process. */
export function createHost(descriptorsMax: number): Host {
  const stdout = new StandardOutput();
  const collector = new Collector(bunEngine());
  return {
    args: process.argv.slice(2),
    pid: process.pid,
    hostname: os.hostname(),
    architecture: process.arch,
    executable: process.execPath,
    get directory() {
      try {
        return process.cwd();
      } catch (error) {
        throw netError(error, "working directory");
      }
    },
    environment: (name) => process.env[name],
    environmentNames: (prefix) =>
      Object.keys(process.env).filter((name) => name.startsWith(prefix)),
    onSignal,
    collectGarbage(all = false) {
      collector.collect(all);
    },
    memory() {
      const usage = process.memoryUsage();
      return {
        rssBytes: usage.rss,
        heapUsedBytes: usage.heapUsed,
        heapTotalBytes: usage.heapTotal,
      };
    },
    descriptorsMax,
    isTerminal: (stream) => process[stream].isTTY === true,
    stdout: (text) => stdout.write(text),
    onStdoutClosed,
    stderr: writeStderr,
    stdin: readStdin,
    spawn,
    exit: (code) => process.exit(code),
  };
}

function onSignal(name: SignalName, callback: () => void): Subscription {
  // The engine hands over the signal's name, which the caller knows.
  const listener = (): void => callback();
  process.on(name, listener);
  return { cancel: () => void process.off(name, listener) };
}

/**
 * `Bun.write(Bun.stdout, …)` starts a redirected file anew with every call (tried on 1.4.5: what was
 * there becomes zeros, an empty text cuts the file to nothing), so the descriptor is written to, off
 * the event loop, one text after the other.
 */
class StandardOutput {
  #before: Promise<void> = Promise.resolve();

  write(text: string | Uint8Array): Promise<void> {
    const bytes = typeof text === "string" ? encodeText(text) : text;
    const written = this.#before.then(() => writeAll(bytes));
    // A failed one is its own caller's matter; the next is written all the same.
    this.#before = written.catch(() => {});
    return written;
  }
}

const retryMs = 5;

async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    try {
      at += await writeSome(bytes.subarray(at));
    } catch (error) {
      // Somebody who shares the pipe made it non-blocking, and its reader is slow.
      if (codeOf(error) !== "EAGAIN") throw netError(error, "standard output");
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
}

function writeSome(bytes: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(1, bytes, 0, bytes.length, null, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}

function writeStderr(text: string): void {
  const bytes = encodeText(text);
  try {
    for (let at = 0; at < bytes.length;) at += fs.writeSync(2, bytes, at);
  } catch {
    // There is nowhere left to say so.
  }
}

async function* readStdin(): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of Bun.stdin.stream()) yield chunk;
  } catch (error) {
    throw new NetError("other", "standard input", error);
  }
}
