/** covey.kv.v1.Watch. */
import type { CoveyError } from "../base/error.ts";
import type { Handlers } from "../ttrpc/service.ts";
import type { Watch } from "../gen/covey/kv/v1/kv_pb.ts";
import type { KvParts } from "./kv_parts.ts";
import { requireLeaderKey } from "./metadata_keys.ts";
import { unavailable } from "./refusal.ts";
import { WatchStream } from "./watch_stream.ts";

export function watchHandlers(parts: KvParts): Handlers<typeof Watch> {
  return {
    watch: (requests, context) => {
      const requiresLeader = context.metadata.get(requireLeaderKey) === "true";
      parts.assertRunning();
      parts.assertReplayed();
      if (requiresLeader && parts.isLeaderless) throw leaderless();
      return new WatchStream(parts.hub, requests, requiresLeader);
    },
  };
}

/** For whoever would wait here for news that cannot come. */
export function leaderless(): CoveyError {
  return unavailable("this node knows of no leader: watch at another one");
}
