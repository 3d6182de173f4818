/** What the cache sees of the cluster; `node.ts` hands it in. */
import type { Subscription } from "../runtime/port.ts";

/** One member of the view. */
export interface CacheMember {
  /** 32 hexadecimal digits; keys are given to node ids, so that a member that comes back has its own. */
  readonly nodeId: string;
  /** Where its mesh listener is: `tcp://host:port`. */
  readonly address: string;
}

/** One configuration. */
export interface CacheView {
  readonly epoch: number;
  readonly digest: bigint;
  readonly members: readonly CacheMember[];
}

export interface CacheCluster {
  /** This node's own id. */
  readonly nodeId: string;
  /** The newest view; before there is one, a view of no members. */
  readonly current: CacheView;
  /** The namespaces for which a member says that it has a source. Not asked for this node itself. */
  namespacesOf(member: CacheMember): readonly string[];
  /** Calls back after the view, or what a member offers, has changed. */
  changed(callback: () => void): Subscription;
}
