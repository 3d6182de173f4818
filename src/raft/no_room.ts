/** What is said of a disk that is nearly full: how much is free, how much is wanted, and by what. */

import { enoughBytes } from "./wal/room.ts";

/** One line; `lowWaterBytes` is the setting. With bytes enough, something else is used up. */
export function noRoom(freeBytes: number, lowWaterBytes: number): string {
  const enough = enoughBytes(lowWaterBytes);
  const why = freeBytes < enough
    ? `${sizeOf(freeBytes)} are free, and writes need ${sizeOf(enough)} (raft.low_water_bytes is ` +
      `${sizeOf(lowWaterBytes)}): make room on it, or lower the mark`
    : `${sizeOf(freeBytes)} are free, and yet it took no new file: are there inodes, is there a ` +
      "quota? make room on it";
  return `the disk is nearly full: ${why}`;
}

/** Rounded down, so that it never looks like enough. */
function sizeOf(bytes: number): string {
  if (bytes < 10 << 20) return `${Math.floor(bytes / 1024)} KiB`;
  return `${Math.floor(bytes / (1 << 20))} MiB`;
}
