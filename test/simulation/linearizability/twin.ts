/** The definition of linearizability, word for word and without any thought of speed. */
import type { Model, Operation } from "./checker.ts";

/**
 * Tries every order of every choice of operations that has all answered ones in it. For histories
 * of a handful.
 */
export function isLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  history: readonly Operation<Input, Output>[],
): boolean {
  for (const order of orders(history)) {
    const chosen = new Set(order);
    const hasAll = history.every((one) => one.output === undefined || chosen.has(one));
    if (hasAll && keepsRealTime(order) && explains(model, order)) return true;
  }
  return false;
}

/** Every sequence of different items, the empty one included. */
function* orders<T>(items: readonly T[]): Generator<T[]> {
  yield [];
  for (const item of items) {
    const rest = items.filter((other) => other !== item);
    for (const order of orders(rest)) yield [item, ...order];
  }
}

/** Nobody comes after somebody who was called only after it had ended. */
function keepsRealTime<Input, Output>(order: readonly Operation<Input, Output>[]): boolean {
  return order.every((later, at) => order.slice(0, at).every((one) => !(later.end < one.call)));
}

function explains<State, Input, Output>(
  model: Model<State, Input, Output>,
  order: readonly Operation<Input, Output>[],
): boolean {
  let state = model.initial;
  for (const { input, output } of order) {
    const after = model.step(state, input, output, Infinity);
    if (after === undefined) return false;
    state = after;
  }
  return true;
}
