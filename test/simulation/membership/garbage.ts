/** Messages that no member would send, on links of members: dropped and counted, and nothing else. */
import type { Prng } from "../../../src/base/prng.ts";
import type { Configuration } from "../../../src/membership/core/configuration.ts";
import { idOf } from "../../../src/membership/core/history.ts";
import type { Member } from "../../../src/membership/core/member.ts";
import { MemberRole } from "../../../src/membership/core/member.ts";
import type { Gossip, Message } from "../../../src/membership/core/message.ts";

const huge = 2 ** 31;

export function drawGarbage(random: Prng, configuration: Configuration): Message {
  const id = idOf(configuration);
  const { size, epoch } = configuration;
  const nobody: Member = {
    address: configuration.members[0].address,
    nodeId: "f".repeat(32),
    incarnation: 1n,
    name: configuration.members[0].name,
    role: MemberRole.core,
    metadata: new Map(),
  };
  const gossip = (part: Partial<Gossip>): Gossip => ({
    kind: "gossip",
    configuration: id,
    joiners: [],
    alerts: [],
    notes: [],
    tallies: [],
    ...part,
  });
  const digest = BigInt(random.next());
  switch (random.below(12)) {
    case 0:
      return gossip({ alerts: [{ place: size, joiner: undefined, rings: [0, 5] }] });
    case 1:
      return gossip({ alerts: [{ place: 0, joiner: undefined, rings: [10, 5, huge, 5] }] });
    case 2:
      return gossip({ alerts: [{ place: 0, joiner: undefined, rings: [0, 0, 1, 2 ** 33, 2] }] });
    case 3:
      return gossip({ alerts: [{ place: undefined, joiner: digest, rings: [0, 5] }] });
    case 4: {
      const cut = { joined: [nobody], left: [] };
      return gossip({ notes: [{ kind: "cut", value: configuration.digestAfter(cut), cut }] });
    }
    case 5: {
      const cut = { joined: [], left: [size + 3] };
      return gossip({ notes: [{ kind: "cut", value: digest, cut }] });
    }
    case 6:
      return gossip({ notes: [{ kind: "prepare", rank: 2 * 65_536 + size }] });
    case 7:
      return gossip({ notes: [{ kind: "accept", rank: 2 ** 60, value: digest }] });
    case 8: {
      const saying = { kind: "vote", value: digest } as const;
      return gossip({ tallies: [{ saying, places: [size, huge] }] });
    }
    case 9:
      return { kind: "leave", configuration: id, place: size };
    case 10:
      return {
        kind: "cuts",
        from: id,
        cuts: [{ joined: [], left: [0, 0] }],
        to: { epoch: epoch + 1, digest },
      };
    default:
      return {
        kind: "view",
        configuration: { epoch: epoch + 100, digest },
        members: [configuration.members[0], configuration.members[0]],
      };
  }
}
