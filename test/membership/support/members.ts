/** Members and configurations for tests of the core. */
import { Configuration, type Cut } from "../../../src/membership/core/configuration.ts";
import { type Member, MemberRole } from "../../../src/membership/core/member.ts";

export const ringCount = 10;

export interface MemberParts {
  readonly incarnation?: bigint;
  readonly nodeId?: string;
  readonly address?: string;
  readonly role?: MemberRole;
}

export function memberOf(name: string, parts: MemberParts = {}): Member {
  return {
    address: parts.address ?? `tcp://${name}:7946`,
    nodeId: parts.nodeId ?? name.padStart(32, "0"),
    incarnation: parts.incarnation ?? 1n,
    name,
    role: parts.role ?? MemberRole.core,
    metadata: new Map(),
  };
}

/** Members a, b, c and so on; those behind `core` are leaves. */
export function configurationOf(size: number, core = size): Configuration {
  const members = Array.from(
    { length: size },
    (_, at) => memberOf(nameAt(at), { role: at < core ? MemberRole.core : MemberRole.leaf }),
  );
  return Configuration.first(7n, members, ringCount);
}

export function nameAt(at: number): string {
  return `${String.fromCharCode(97 + Math.floor(at / 26))}${String.fromCharCode(97 + at % 26)}`;
}

export function without(...left: readonly number[]): Cut {
  return { joined: [], left };
}
