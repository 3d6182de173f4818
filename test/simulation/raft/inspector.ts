/**
 * Looks into the consensus modules of all nodes of a run: which replicas there are, what each of
 * them is told to do, what it sends and applies. The product's classes are wrapped from outside
 * while the run lasts; every call goes through unchanged.
 */
import { RaftNode } from "../../../src/raft/core/node.ts";
import type { Ready } from "../../../src/raft/core/ready.ts";
import type { Status } from "../../../src/raft/core/status.ts";
import type { Message } from "../../../src/raft/core/types.ts";
import type { GroupOfAny } from "../../../src/raft/group_types.ts";
import { RaftHost } from "../../../src/raft/host.ts";
import type { Storage } from "../../../src/raft/storage.ts";

/** What a run wants to know. The host's clock tells which process it is. */
export interface InspectorOwner {
  /** The log was read, and no group runs yet. */
  opened(host: RaftHost, storage: Storage): void;
  added(host: RaftHost, group: GroupOfAny, core: RaftNode): void;
  /** The core has said what is to be done, and nothing of it was done yet. */
  handed(core: RaftNode, ready: Ready): void;
  sending(host: RaftHost, group: GroupOfAny, message: Message): void;
}

/** Puts a method in the place of another, and gives the way back. */
function wrap<T extends object, K extends keyof T>(
  target: T,
  name: K,
  make: (original: T[K]) => T[K],
): () => void {
  const original = target[name];
  target[name] = make(original);
  return () => {
    target[name] = original;
  };
}

/** Until the answer is called, the owner is told of everything. */
export function inspect(owner: InspectorOwner): () => void {
  let asked: RaftNode | undefined;
  const undo = [
    wrap(
      RaftHost.prototype,
      "begin",
      (original) =>
        function (this: RaftHost, storage: Storage): void {
          owner.opened(this, storage);
          original.call(this, storage);
        },
    ),
    wrap(
      RaftHost.prototype,
      "add",
      (original) =>
        function (this: RaftHost, group: GroupOfAny): void {
          // The group keeps its core to itself, but asks it for its status.
          asked = undefined;
          group.status();
          owner.added(this, group, asked!);
          original.call(this, group);
        },
    ),
    ...(["send", "sendSnapshot"] as const).map((name) =>
      wrap(
        RaftHost.prototype,
        name,
        (original) =>
          function (this: RaftHost, group, to, message): void {
            owner.sending(this, group, message);
            original.call(this, group, to, message);
          },
      )
    ),
    wrap(RaftNode.prototype, "status", (original) =>
      function (this: RaftNode): Status {
        asked = this;
        return original.call(this);
      }),
    wrap(RaftNode.prototype, "ready", (original) =>
      function (this: RaftNode): Ready {
        const ready = original.call(this);
        owner.handed(this, ready);
        return ready;
      }),
  ];
  return () => undo.reverse().forEach((back) => back());
}
