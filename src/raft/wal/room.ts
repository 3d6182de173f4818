/** Whether entries may still be taken, seen from the room on the disk: without any the log ends. */

/** Kept of the last segment, an eighth of it at most: thousands of terms and votes. */
const votesBytes = 192 << 10;
/** Entries of a new leader, and changes of the members. */
const smallBytes = 1 << 10;

export interface Room {
  /** Nothing new is to be made on the disk. */
  readonly isLow: boolean;
  /** Of the disk, when it was looked at last. */
  readonly freeBytes: number;
  readonly lowWaterBytes: number;
  readonly segmentBytes: number;
  readonly spares: number;
  /** Of what a new segment begins with, at most. */
  checkpointBytes(): number;
  /** What goes into the log before. */
  readonly aheadBytes: number;
  /** Whether so many fit into the present segment. */
  fits(bytes: number): boolean;
}

/** Free bytes that end the state: a quarter more than begin it, so that it does not flutter. */
export function enoughBytes(lowWaterBytes: number): number {
  return lowWaterBytes * 1.25;
}

/**
 * Whether so many bytes of entries may be taken: there is room on the disk, or they fit into the
 * present segment or a spare. The end of the last one is kept for terms, votes, and the small entries
 * that elections and changes of the members need.
 */
export function roomFor(room: Room, bytes: number): boolean {
  const { freeBytes, lowWaterBytes, segmentBytes } = room;
  if (!room.isLow && bytes <= Math.max(lowWaterBytes, freeBytes / 2)) return true;
  const reserve = Math.min(votesBytes, segmentBytes / 8) / (bytes <= smallBytes ? 2 : 1);
  const needed = room.aheadBytes + bytes + reserve;
  if (room.fits(needed)) return true;
  return room.spares > 0 && needed + Math.max(reserve, room.checkpointBytes()) <= segmentBytes;
}
