/**
 * In a simulation process nothing may ask the real world: every global timer, clock, source of
 * randomness, `fetch` and `crypto.subtle` throws when it is used. `queueMicrotask` and `Date` with
 * arguments stay, they depend on nothing.
 *
 * Both test runners go on working while the ban is armed (tried); only the `timeout` option of a
 * `node:test` case needs a timer on Deno. Test files arm it in `before` and lift it in `after`,
 * because `bun test` runs several files in one process; preload.ts arms it for good.
 */
// The simulator takes its one turn of the real event loop from here before it is banned.
import "../../src/runtime/sim/turn.ts";

/** For measuring how fast a simulation is; taken before anything is banned. */
export const realNow: () => number = performance.now.bind(performance);

/** What was there before, to be put back. */
interface Banned {
  readonly owner: object;
  readonly name: string;
  readonly descriptor: PropertyDescriptor | undefined;
}

function refusal(name: string): () => never {
  return () => {
    throw new Error(`${name} is banned in a simulation: go through the seam`);
  };
}

/** Functions that throw when they are called. */
function bannedCalls(): [owner: object, name: string][] {
  const calls: [object, string][] = [];
  for (
    const name of [
      "setTimeout",
      "setInterval",
      "setImmediate",
      "clearTimeout",
      "clearInterval",
      "clearImmediate",
      "fetch",
      "WebSocket",
      "EventSource",
    ]
  ) {
    calls.push([globalThis, name]);
  }
  calls.push([Math, "random"], [performance, "now"], [AbortSignal, "timeout"]);
  calls.push([crypto, "getRandomValues"], [crypto, "randomUUID"]);
  return calls;
}

/** `Date` without a clock: reading one fails, computing with given times works. */
function timelessDate(real: DateConstructor): DateConstructor {
  return new Proxy(real, {
    construct(target, parts: unknown[], newTarget) {
      if (parts.length === 0) refusal("new Date()")();
      return Reflect.construct(target, parts, newTarget);
    },
    apply: refusal("Date()"),
    get(target, name) {
      return name === "now" ? refusal("Date.now") : Reflect.get(target, name);
    },
  });
}

let lifted: (() => void) | undefined;

/** Arms the ban; does nothing when it is armed. */
export function armBan(): void {
  if (lifted !== undefined) return;
  const before: Banned[] = [];
  const replace = (owner: object, name: string, descriptor: PropertyDescriptor) => {
    before.push({ owner, name, descriptor: Object.getOwnPropertyDescriptor(owner, name) });
    Object.defineProperty(owner, name, { configurable: true, ...descriptor });
  };
  for (const [owner, name] of bannedCalls()) {
    replace(owner, name, { value: refusal(name), writable: true });
  }
  replace(globalThis, "Date", { value: timelessDate(Date), writable: true });
  replace(crypto, "subtle", { get: refusal("crypto.subtle") });
  lifted = () => {
    for (const { owner, name, descriptor } of before.reverse()) {
      // What was inherited shows again once the own property is gone.
      if (descriptor === undefined) Reflect.deleteProperty(owner, name);
      else Object.defineProperty(owner, name, descriptor);
    }
  };
}

/** Puts everything back. */
export function liftBan(): void {
  lifted?.();
  lifted = undefined;
}
