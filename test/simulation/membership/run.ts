/**
 * One seed from its first event to its last. First a minute of what its profile wants, and what is
 * safe must stay so. Then as many as can be spared fail for good and the others must agree on who is
 * left. Then all is healed, everybody must be in, and everything must come to rest.
 */
import type { SeedRun } from "../seeds/subject.ts";
import { watchBounds } from "./bounds.ts";
import { calm } from "./calm.ts";
import { Chaos } from "./chaos.ts";
import { agree, canDecide, condemn } from "./core.ts";
import type { Host } from "./host.ts";
import { People } from "./people.ts";
import { chaosFromMs, chaosUntilMs } from "./plan.ts";
import { split } from "./split.ts";
import { World } from "./world.ts";

/** From the end of the faults of a core until its view is of those who are there. */
const progressMs = 120_000;
/** From the end of all faults until everybody is in. */
const restMs = 120_000;
/** Then nothing changes any more, and nothing is written. */
const silenceMs = 20_000;
/** What a joiner is answered within, by a gatekeeper that is there. */
const parkedMs = 30_500;

/** Runs a seed; rejects with the first broken invariant. */
export function runMembershipSeed(seed: number, log?: (line: string) => void): Promise<SeedRun> {
  return new Promise((resolve) => resolve(live(new World(seed, log))));
}

function live(world: World): SeedRun {
  world.found();
  watchBounds(world);
  const chaos = new Chaos(world);
  world.run(chaosFromMs);
  switch (world.plan.profile) {
    case "calm":
      calm(world);
      break;
    case "split":
      split(world, chaos);
      break;
    default:
      rough(world, chaos);
  }
  demandProgress(world, chaos);
  comeToRest(world, chaos);
  world.check(
    world.parkedMsMost <= parkedMs,
    "no joiner waits for ever",
    () => `one waited for ${world.parkedMsMost} ms`,
  );
  const { coverage, events, nowMs, network, faults } = world;
  const simulation = { coverage, events, nowMs };
  return { simulation, operations: network.messages, faults, hash: world.digest };
}

function rough(world: World, chaos: Chaos): void {
  const people = new People(world);
  if (world.plan.profile === "chaos") chaos.begin();
  people.begin();
  world.run(chaosUntilMs - world.nowMs);
  people.isOver = true;
}

/** A core is healed, the others never will be. */
function demandProgress(world: World, chaos: Chaos): void {
  chaos.heal();
  startAll(world);
  // Leavers that nobody has let go stay.
  for (const { process } of world.hosts) if (process !== undefined) process.isLeaving = false;
  world.run(1_000);
  const condemned = condemn(world, chaos);
  if (condemned === undefined) return world.mark("quorum lost for ever");
  const core = world.hosts.filter((host) => !host.hasLeft && !condemned.includes(host));
  if (condemned.length > 0) world.mark("progress without a minority");
  world.until(
    "a healthy majority goes on without the others",
    progressMs,
    () => agree(core) || !canDecide(world, core),
  );
  if (!agree(core)) world.mark("quorum lost for ever");
}

function startAll(world: World): void {
  for (const host of world.hosts) {
    host.isTaken = false;
    host.isOn = true;
    if (!host.hasLeft && !host.isRunning) host.start();
    if (host.process?.isPaused === true) host.process.resume();
  }
}

function comeToRest(world: World, chaos: Chaos): void {
  chaos.heal();
  startAll(world);
  world.run(1_000);
  const hosts = world.hosts.filter(({ hasLeft }) => !hasLeft);
  if (!canDecide(world, hosts)) return world.mark("quorum lost for ever");
  world.until("everybody is in", restMs, () => agree(hosts) || !canDecide(world, hosts));
  if (!agree(hosts)) return world.mark("quorum lost for ever");
  world.run(silenceMs);
  const before = stateOf(world, hosts);
  world.run(silenceMs);
  const after = stateOf(world, hosts);
  world.check(
    before === after && agree(hosts),
    "what is settled stays so, and writes nothing",
    () => `${before} became ${after}\n${world.describe()}`,
  );
  for (const { name, process } of hosts) {
    const why = process?.machine?.degraded(world.nowMs);
    world.check(why === undefined, "who is well says so", () => `${name}: ${why}`);
  }
}

function stateOf({ ledger }: World, hosts: readonly Host[]): string {
  return `${ledger.head!.epoch}: ${hosts.map(({ disk }) => disk.writes).join(" ")}`;
}
