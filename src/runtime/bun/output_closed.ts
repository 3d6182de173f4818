/// <reference types="npm:bun-types@1.4.5" />
/**
 * Word that nobody reads standard output any more, before the next write finds out: whoever prints
 * what happens may have nothing to print for days.
 */
import fs from "node:fs";
import process from "node:process";
import { codeOf } from "../error.ts";
import type { Subscription } from "../port.ts";

/**
 * Linux says of the writing end of a pipe that the last reader has gone to whoever waits for
 * anything on it. Bun has no name for that wait; a read from the end that cannot be read is one
 * (tried on 1.4.5: it stays pending, costs nothing meanwhile, and fails in that moment). The pipe is
 * opened anew, because the wait makes it non-blocking for everybody who shares it.
 */
export function onStdoutClosed(listener: () => void): Subscription {
  const pipe = openPipe();
  let isOver = pipe === undefined;
  const closed = (): void => {
    if (!isOver) listener();
  };
  if (pipe === "closed") queueMicrotask(closed);
  if (typeof pipe !== "number") return { cancel: () => void (isOver = true) };
  const reader = Bun.file(pipe).stream().getReader();
  reader.read().then(closed, closed);
  return {
    cancel() {
      if (isOver) return;
      isOver = true;
      // There is nothing that it could fail to give up.
      reader.cancel().catch(() => {});
    },
  };
}

/** The writing end of the pipe that standard output is; undefined where it is something else. */
function openPipe(): number | "closed" | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    if (!fs.fstatSync(1).isFIFO()) return undefined;
    const { O_NONBLOCK, O_WRONLY } = fs.constants;
    return fs.openSync("/proc/self/fd/1", O_WRONLY | O_NONBLOCK);
  } catch (error) {
    // Else it has no /proc, or is another user's pipe: the next write finds out.
    return codeOf(error) === "ENXIO" ? "closed" : undefined;
  }
}
