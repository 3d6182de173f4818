/**
 * The bounds of the store. They decide over results, so they are part of the replicated state: what
 * an operator configures reaches the machine by a command in the log, never from a local file.
 */

export interface KvLimits {
  /** Largest command. */
  readonly requestBytesMax: number;
  readonly keyBytesMax: number;
  /** Operations of one transaction, nested ones and both branches counted; compares likewise. */
  readonly operationsMax: number;
  /** What all kept revisions may take, as {@link recordBytes} counts them. */
  readonly databaseBytesMax: number;
  readonly leasesMax: number;
  /** A shorter time to live is raised to this. */
  readonly leaseTtlMsMin: number;
  readonly leaseTtlMsMax: number;
  /** Client sessions; the one that was used least recently leaves first. */
  readonly sessionsMax: number;
  /** Results that one session may hold unacknowledged. */
  readonly sessionResultsMax: number;
  /** What the results of all sessions may take. */
  readonly sessionBytesMax: number;
  /** A larger result is not kept: a retry learns that the command was applied, not what it gave. */
  readonly sessionResultBytesMax: number;
  /** What the result of one command may take, as `resultBytes` counts it: it fits a message. */
  readonly resultBytesMax: number;
  /** Keys that one transaction may look at one by one: to compare, to read and to delete them. */
  readonly scanKeysMax: number;
}

const kib = 1024;
const mib = 1024 * kib;

/** Those of etcd where it has one. The database is held in memory: hence the smaller quota. */
export const defaultLimits: KvLimits = {
  requestBytesMax: 1536 * kib,
  keyBytesMax: 4 * kib,
  operationsMax: 128,
  databaseBytesMax: 512 * mib,
  leasesMax: 100_000,
  leaseTtlMsMin: 1_000,
  leaseTtlMsMax: 9_000_000_000_000,
  sessionsMax: 4_096,
  sessionResultsMax: 256,
  sessionBytesMax: 16 * mib,
  sessionResultBytesMax: 64 * kib,
  // Messages are 4 MiB by default, with an envelope around the answer.
  resultBytesMax: 4 * mib - 256,
  scanKeysMax: 10_000,
};

/** With less, not even the command that raises a limit again would pass. */
export const limitsLeast: KvLimits = {
  requestBytesMax: 1024,
  keyBytesMax: 1,
  operationsMax: 1,
  databaseBytesMax: 1,
  leasesMax: 1,
  leaseTtlMsMin: 1,
  leaseTtlMsMax: 1,
  sessionsMax: 1,
  sessionResultsMax: 1,
  sessionBytesMax: 1,
  sessionResultBytesMax: 1,
  resultBytesMax: 1,
  scanKeysMax: 1,
};

/** The order is the numbering on disk: only ever append. */
export const limitNames: readonly (keyof KvLimits)[] = [
  "requestBytesMax",
  "keyBytesMax",
  "operationsMax",
  "databaseBytesMax",
  "leasesMax",
  "leaseTtlMsMin",
  "leaseTtlMsMax",
  "sessionsMax",
  "sessionResultsMax",
  "sessionBytesMax",
  "sessionResultBytesMax",
  "resultBytesMax",
  "scanKeysMax",
];

/** Those that every snapshot names, as it always did. */
const limitsNamedMin = 11;

/**
 * What a snapshot names: a limit that came later is left out while it has its default, so that a
 * state from before has the bytes that it had. Defaults are part of the format: they never change.
 */
export function namedInSnapshots(limits: KvLimits): Partial<KvLimits> {
  const names = limitNames.filter((name, at) =>
    at < limitsNamedMin || limits[name] !== defaultLimits[name]
  );
  return Object.fromEntries(names.map((name) => [name, limits[name]]));
}

/** What a revision is charged beside its key and value. */
export const recordOverheadBytes = 64;

/** What a result and each entry in it are charged beside keys and values. */
export const resultOverheadBytes = 64;

/** What an entry counts in a result. */
export function entryBytes(keyBytes: number, valueBytes: number): number {
  return resultOverheadBytes + keyBytes + valueBytes;
}

/** What one revision of a key counts towards the quota. */
export function recordBytes(keyBytes: number, valueBytes: number): number {
  return recordOverheadBytes + keyBytes + valueBytes;
}
