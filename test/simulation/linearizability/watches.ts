/**
 * Whether watchers saw what they were promised: each event of the agreed history from their first
 * revision on that they asked for, in its order, and none twice.
 */

/** One change of one key. */
export interface WatchEvent {
  readonly revision: number;
  readonly type: "put" | "delete";
  readonly key: string;
  /** Empty for a delete. */
  readonly value: string;
  readonly create: number;
  readonly version: number;
}

/** What one watch was asked for, and what it got. */
export interface Watched {
  readonly name: string;
  /** The first revision that it was to tell of. */
  readonly from: number;
  readonly covers: (key: string) => boolean;
  readonly events: readonly WatchEvent[];
  /** It was told that up to this revision nothing is missing; 0 when it was not. */
  readonly progress: number;
}

/**
 * What is wrong with a watch; undefined when nothing is. With `upTo`, the watch has had time to get
 * everything up to that revision.
 */
export function judgeWatch(
  agreed: readonly WatchEvent[],
  watched: Watched,
  upTo: number = 0,
): string | undefined {
  const { name, from, covers, events, progress } = watched;
  const due = agreed.filter(({ revision, key }) => revision >= from && covers(key));
  for (let at = 0; at < events.length; at++) {
    const got = events[at];
    if (at >= due.length) return `${name} got ${show(got)}, which never happened`;
    if (isSame(got, due[at])) continue;
    return `${name} got ${show(got)} ${why(got, events.slice(0, at), due)}; ` +
      `its next event is ${show(due[at])}`;
  }
  const missing = due[events.length];
  if (missing === undefined) return undefined;
  if (missing.revision <= progress) {
    return `${name} was told that nothing is missing up to ${progress}, but ${show(missing)} is`;
  }
  if (events.length > 0 && missing.revision === events[events.length - 1].revision) {
    return `${name} got a part of revision ${missing.revision}: ${show(missing)} is missing`;
  }
  if (missing.revision <= upTo) return `${name} never got ${show(missing)}`;
  return undefined;
}

function why(got: WatchEvent, before: readonly WatchEvent[], due: readonly WatchEvent[]): string {
  if (before.some((event) => isSame(event, got))) return "twice";
  if (due.some((event) => isSame(event, got))) return "out of turn";
  return "which never happened so";
}

function isSame(a: WatchEvent, b: WatchEvent): boolean {
  return a.revision === b.revision && a.type === b.type && a.key === b.key && a.value === b.value &&
    a.create === b.create && a.version === b.version;
}

function show({ revision, type, key, value, create, version }: WatchEvent): string {
  const what = type === "put" ? `put ${key}=${value}` : `delete ${key}`;
  return `${what} at revision ${revision} (created ${create}, version ${version})`;
}
