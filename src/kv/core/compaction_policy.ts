/** When to compact by itself. The leader asks, and proposes the compaction as a command. */

export interface CompactionPolicy {
  /** Keep this many revisions; 0 for no bound. */
  readonly revisions: number;
  /** Keep no more history than this, in the quota's bytes; 0 for no bound. */
  readonly historyBytes: number;
}

export const defaultCompactionPolicy: CompactionPolicy = {
  revisions: 50_000,
  historyBytes: 16 * 1024 * 1024,
};

/** What the policy looks at; the machine is one. */
export interface Compactable {
  readonly revision: number;
  readonly compactRevision: number;
  /** The earliest compaction that leaves no more than this; undefined when none is needed. */
  revisionForHistory(bytesMax: number): number | undefined;
}

/** A bound may be passed by this part of it, an eighth, so that a compaction is worth an entry of the log. */
const slackPart = 8;

/** The revision to compact at now; undefined for not now. */
export function compactionDue(store: Compactable, policy: CompactionPolicy): number | undefined {
  let revision = store.compactRevision;
  if (policy.revisions > 0) {
    const most = policy.revisions + Math.ceil(policy.revisions / slackPart);
    if (store.revision - store.compactRevision > most) revision = store.revision - policy.revisions;
  }
  if (policy.historyBytes > 0) {
    const most = policy.historyBytes + Math.ceil(policy.historyBytes / slackPart);
    if (store.revisionForHistory(most) !== undefined) {
      revision = Math.max(revision, store.revisionForHistory(policy.historyBytes) ?? 0);
    }
  }
  return revision > store.compactRevision ? revision : undefined;
}
