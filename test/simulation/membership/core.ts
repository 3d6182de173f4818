/**
 * The second phase: as many as can be spared get a fault that does not end, all the others are healed,
 * and their view must become the one of those who are there.
 */
import { MemberRole } from "../../../src/membership/core/member.ts";
import { isClassicQuorum } from "./ledger.ts";
import type { Chaos } from "./chaos.ts";
import type { Host } from "./host.ts";
import type { World } from "./world.ts";

/** Whether these can go on from what they know. */
export function canDecide(world: World, hosts: readonly Host[]): boolean {
  const { ledger, plan } = world;
  const staysOf = (host: Host): bigint | undefined =>
    host.process?.self?.incarnation ?? host.disk.saved?.self.incarnation;
  const epochOf = (host: Host): number =>
    host.process?.view?.epoch ?? host.disk.saved?.durable.configuration.epoch ?? 0;
  const { epoch } = ledger.head!;
  const known = Math.max(1, ...hosts.map(epochOf));
  for (let at = Math.min(known, epoch); at <= epoch; at++) {
    const { core, members } = ledger.at(at)!;
    const isThere = (place: number): boolean => {
      const host = world.hostAt(members[place].address);
      return hosts.includes(host) && staysOf(host) === members[place].incarnation;
    };
    if (!isClassicQuorum(core, isThere, plan.protocol.twoMembers)) return false;
  }
  return true;
}

/** Chooses whom to do without; undefined when even all together cannot decide. */
export function condemn(world: World, chaos: Chaos): Host[] | undefined {
  const hosts = world.hosts.filter(({ hasLeft }) => !hasLeft);
  if (!canDecide(world, hosts)) return undefined;
  const condemned: Host[] = [];
  const order = [...hosts];
  for (let at = order.length - 1; at > 0; at--) {
    const other = world.random.below(at + 1);
    [order[at], order[other]] = [order[other], order[at]];
  }
  // Leaves that fail are no hindrance to a quorum: a third of them is enough.
  let leaves = Math.floor(hosts.filter(({ role }) => role === MemberRole.leaf).length / 3);
  // Beyond ten the paper's bound holds: a quarter of them.
  const most = hosts.length > boundedFrom ? Math.floor(hosts.length / 4) : hosts.length;
  for (const host of order) {
    if (condemned.length >= most) break;
    if (host.role === MemberRole.leaf && leaves-- <= 0) continue;
    const rest = hosts.filter((other) => other !== host && !condemned.includes(other));
    if (rest.length > 0 && canDecide(world, rest)) condemned.push(host);
  }
  // Those who hear nobody say that everybody is gone: so many of them are beyond what is promised.
  let deaf = Math.floor(hosts.length / 5);
  for (const host of condemned) if (doom(world, chaos, host, deaf > 0)) deaf--;
  return condemned;
}

const boundedFrom = 10;
const endless = 1e12;

/** Says whether it is one that hears nobody and is heard. */
function doom(world: World, chaos: Chaos, host: Host, mayBeDeaf: boolean): boolean {
  host.isTaken = true;
  world.faults++;
  switch (world.random.below(mayBeDeaf ? 6 : 5)) {
    case 0:
      host.losePower();
      return false;
    case 1:
      host.kill();
      return false;
    case 2:
      host.process?.pause();
      return false;
    case 3:
      chaos.cut(world.hosts, [host], endless);
      chaos.cut([host], world.hosts, endless);
      return false;
    case 4:
      chaos.cut([host], world.hosts, endless);
      return false;
    default:
      chaos.cut(world.hosts, [host], endless);
      return true;
  }
}

/** These have one view, and it is of them. */
export function agree(hosts: readonly Host[]): boolean {
  const first = hosts[0]?.process?.view;
  if (first === undefined || first.size !== hosts.length) return false;
  return hosts.every(({ process }) => {
    const view = process?.view;
    return view !== undefined && view.digest === first.digest && view.holds(process!.self!);
  });
}
