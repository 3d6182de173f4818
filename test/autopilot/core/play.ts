/** One seed: faults, calm, then flapping; and what must be true after each. */
import { Model, type ModelNode } from "./model.ts";

export type Seen = Record<string, number>;

/** Plays these seeds; throws with the first that breaks a promise. */
export function playAll(from: number, count: number): Seen {
  const seen: Seen = {};
  for (let seed = from; seed < from + count; seed++) {
    try {
      for (const [what, times] of Object.entries(play(seed))) {
        seen[what] = (seen[what] ?? 0) + times;
      }
    } catch (cause) {
      throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }
  return seen;
}

export function play(seed: number): Seen {
  const model = new Model(seed);
  const { random, policy, judge } = model;
  model.failure = random.pick([0, 0, 0.1, 0.4]);
  model.run(random.between(60_000, 240_000), () => {
    if (random.chance(0.06)) strike(model, random.pick(model.nodes));
  });
  model.heal();
  model.run(calmMs(model));
  converged(model);
  judge.seen.converged = 1;
  const before = model.changes;
  // All outages end before a voter, or a successor, could be given up.
  const longestMs = policy.replaceAfterMs / 2 - 1_000;
  model.run(120_000, () => {
    if (!random.chance(0.08)) return;
    const node = random.pick(model.nodes);
    if (!node.isUp || node.isGone || node.backAtMs !== undefined) return;
    judge.seen.flaps = (judge.seen.flaps ?? 0) + 1;
    model.crash(node, model.nowMs + random.between(500, longestMs));
  });
  demand(model.changes === before, "nothing is changed while nodes flap", model);
  return judge.seen;
}

/** Something happens to a node, or ends. */
function strike(model: Model, node: ModelNode): void {
  const { random } = model;
  if (node.isGone) return;
  if (!node.isUp) {
    if (random.chance(0.5)) model.restart(node);
    return;
  }
  if (node.isHidden || node.isCut) {
    node.isCut = false;
    model.hide(node, false);
    return;
  }
  const backAtMs = model.nowMs + random.between(500, 40_000);
  switch (random.below(9)) {
    case 0:
    case 1:
      model.crash(node, backAtMs);
      return;
    case 2:
      model.hide(node, true);
      return;
    case 3:
      node.isCut = true;
      return;
    case 4:
      node.isCut = true;
      model.hide(node, true);
      return;
    case 5:
      if (!model.canLose(node)) return;
      model.crash(node, undefined);
      node.isGone = true;
      return;
    case 6:
      if (!model.canLose(node)) return;
      model.crash(node, backAtMs);
      if (node.replica > 0) model.loseLog(node);
      return;
    case 7:
      if (!model.canLose(node)) return;
      model.crash(node, backAtMs);
      model.loseDirectory(node);
      return;
    case 8:
      if (!model.canLeave(node) || !random.chance(0.7)) return;
      model.leave(node, random.pick(["left", "kicked"]));
  }
}

/** Long enough for everything that waits, one after the other. */
function calmMs({ policy, nodes }: Model): number {
  const { replaceAfterMs, removeAfterMs, stabilizeMs } = policy;
  return removeAfterMs + (nodes.length + 4) * (replaceAfterMs + stabilizeMs + 5_000);
}

/** As many voters as there can be, all of them well, in as many zones as there are. */
function converged(model: Model): void {
  const { policy, voters, nodes } = model;
  demand(model.leader !== undefined, "there is a leader", model);
  const able = nodes.filter(({ isUp, isGone, isLeaf, replica }) =>
    isUp && !isGone && !isLeaf && replica !== -1
  );
  const well = voters.filter((id) => model.works(id)).map((id) => model.node(id)!);
  const spare = able.length - well.length;
  demand(voters.length <= policy.voters, "no more voters than wanted", model);
  demand(
    well.length === voters.length || spare === 0,
    "no dead voter where there is a spare",
    model,
  );
  if (voters.length < policy.voters) {
    const needed = voters.length % 2 === 0 ? 1 : 2;
    demand(spare < needed, "as many voters as wanted, or as there are nodes for", model);
  }
  if (well.length < voters.length || policy.learnersMax < nodes.length) return;
  const zones = (some: readonly ModelNode[]): number => new Set(some.map(({ zone }) => zone)).size;
  demand(
    zones(well) === Math.min(well.length, zones(able)),
    "voters are in as many zones as there can be",
    model,
  );
}

function demand(isSo: boolean, invariant: string, model: Model): void {
  if (isSo) return;
  throw new Error(`${invariant}: ${model.evaluation?.why}; voters ${model.voters.join(" ")}`);
}
