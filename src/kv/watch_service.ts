/** covey.kv.v1.Watch. */
import type { Handlers } from "../ttrpc/service.ts";
import type { Watch } from "../gen/covey/kv/v1/kv_pb.ts";
import type { KvParts } from "./kv_parts.ts";
import { WatchStream } from "./watch_stream.ts";

/** etcd's: who sends it wants no stream from a node that knows of no leader. */
export const requireLeaderKey = "hasleader";

export function watchHandlers(parts: KvParts): Handlers<typeof Watch> {
  return {
    watch: (requests, context) => {
      const requiresLeader = context.metadata.get(requireLeaderKey) === "true";
      parts.assertServing();
      return new WatchStream(parts.hub, requests, requiresLeader);
    },
  };
}
