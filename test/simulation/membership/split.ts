/** The network falls into two halves: the lesser one installs nothing and says that it is degraded. */
import { type Member, MemberRole } from "../../../src/membership/core/member.ts";
import { agree } from "./core.ts";
import type { Chaos } from "./chaos.ts";
import { isClassicQuorum } from "./ledger.ts";
import type { Host } from "./host.ts";
import { chaosUntilMs } from "./plan.ts";
import type { World } from "./world.ts";

/** What was decided before may still arrive. */
const inFlightMs = 2_000;
/** From the split until the lesser side says so: until dead links are given up, and `degradedMs`. */
const degradedMs = 35_000;
/** From the split until the greater side is by itself. */
const evictedMs = 45_000;

export function split(world: World, chaos: Chaos): void {
  const { hosts, random, ledger, plan } = world;
  world.until("founders agree", 10_000, () => agree(hosts));
  const { core, members } = ledger.head!;
  const side = hosts.filter(() => random.chance(0.5));
  const others = hosts.filter((host) => !side.includes(host));
  const forMs = chaosUntilMs - world.nowMs;
  world.mark("fault: partition");
  world.faults++;
  chaos.cut(side, others, forMs);
  chaos.cut(others, side, forMs);
  const splitMs = world.nowMs;
  world.run(inFlightMs);
  const { epoch } = ledger.head!;
  const sides = [side, others].map((one) => ({
    hosts: one,
    decides: isClassicQuorum(
      core,
      (place) => one.includes(world.hostAt(members[place].address)),
      plan.protocol.twoMembers,
    ),
  }));
  world.run(degradedMs - inFlightMs);
  for (const { hosts: lesser, decides } of sides) {
    if (!decides) demandDegraded(world, lesser, ledger.at(epoch)!.members);
  }
  const greater = sides.find(({ decides }) => decides);
  if (greater !== undefined && greater.hosts.length > 0) {
    const leftMs = evictedMs - (world.nowMs - splitMs);
    world.until("the greater side goes on by itself", leftMs, () => agree(greater.hosts));
  }
  world.run(Math.max(0, forMs + splitMs - world.nowMs - 1));
  for (const { hosts: lesser, decides } of sides) {
    if (decides) continue;
    for (const { name, process } of lesser) {
      world.check(
        process?.view === undefined || process.view.epoch <= epoch,
        "a minority installs nothing",
        () => `${name} is in ${process!.view!.epoch}, and the split was in ${epoch}`,
      );
    }
  }
}

function demandDegraded(world: World, lesser: readonly Host[], members: readonly Member[]): void {
  if (members.length === lesser.length) return;
  for (const { name, role, process } of lesser) {
    const machine = process?.machine;
    // A leaf knows nothing but of those whom it observes itself.
    if (machine === undefined || machine.isEvicted || role === MemberRole.leaf) continue;
    world.check(
      machine.degraded(world.nowMs) !== undefined,
      "a minority says that it is degraded",
      () => `${name} does not\n${world.describe()}`,
    );
    world.mark("minority degraded");
  }
}
