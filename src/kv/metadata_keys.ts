/** Request metadata by which nodes and clients of the store understand each other. */

/** etcd's: who sends it wants no stream from a node that knows of no leader. */
export const requireLeaderKey = "hasleader";

/** Says that a call comes from a node that does not lead: it is not forwarded again. */
export const forwardedKey = "covey-kv-forwarded";
