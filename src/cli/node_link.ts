/** The connection of a command to a node, and what its failures mean to whoever typed the command. */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import { type Address, formatAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import { Raft } from "../gen/covey/raft/v1/raft_pb.ts";
import { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import type { Client } from "../ttrpc/service.ts";
import { explainFailure } from "./call_failure.ts";
import type { CliContext } from "./context.ts";
import type { NodeFlags } from "./flags.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import { findTarget, type Target } from "./target.ts";

/** Longer than a node takes to find out that there is no leader. */
const timeoutMsDefault = 10_000;
/** For one of several addresses: the next one may be better. */
const tryMs = 2000;
/** For asking a node that does not answer whether it knows of a leader. */
const lookMs = 1000;
/** How much of the command's time that may take, so that it ends with it. */
const lookShare = 0.25;
/** How often it is looked at whether a person has answered. */
const pausedLookMs = 20;

/** The time that a whole command has, its connection and all its requests. */
class Deadline {
  readonly clock: Clock;
  #untilMs: number;
  #pausedAtMs: number | undefined = undefined;

  constructor(clock: Clock, timeoutMs: number) {
    this.clock = clock;
    this.#untilMs = clock.monotonicMs() + timeoutMs;
  }

  /** Milliseconds; below 0 when it is over. */
  get leftMs(): number {
    return this.#untilMs - (this.#pausedAtMs ?? this.clock.monotonicMs());
  }

  /** What this takes is not counted. */
  async without<T>(work: () => Promise<T>): Promise<T> {
    const startedMs = this.#pausedAtMs = this.clock.monotonicMs();
    try {
      return await work();
    } finally {
      this.#untilMs += this.clock.monotonicMs() - startedMs;
      this.#pausedAtMs = undefined;
    }
  }
}

/** A node that answered, and the others that were named with it. */
export class NodeLink implements Disposable {
  /** The one that answered comes first; the others are not dialled before they are used. */
  readonly channels: readonly Channel[];
  readonly #deadline: Deadline;

  constructor(channels: readonly Channel[], deadline: Deadline) {
    this.channels = channels;
    this.#deadline = deadline;
  }

  /** Milliseconds that the next request may take: what is left of the command's time, at least 1. */
  get timeoutMs(): number {
    return Math.max(1, this.#deadline.leftMs);
  }

  /** Runs what waits for a person and not for a node: that is not what the time is for. */
  withoutDeadline<T>(work: () => Promise<T>): Promise<T> {
    return this.#deadline.without(work);
  }

  client<S extends DescService>(service: S): Client<S> {
    return createClient(service, this.channels[0]);
  }

  [Symbol.dispose](): void {
    for (const channel of this.channels) channel.close();
  }
}

/** Finds the node, runs `body` with it and closes the connection. Errors say what to do. */
export function withNode<T>(
  context: CliContext,
  flags: NodeFlags,
  body: (node: NodeLink) => Promise<T>,
): Promise<T> {
  return run(context, flags, body, true);
}

/** Like {@link withNode}, for a body that changes nothing: a failure leaves no doubt then. */
export function askNode<T>(
  context: CliContext,
  flags: NodeFlags,
  body: (node: NodeLink) => Promise<T>,
): Promise<T> {
  return run(context, flags, body, false);
}

async function run<T>(
  context: CliContext,
  flags: NodeFlags,
  body: (node: NodeLink) => Promise<T>,
  changes: boolean,
): Promise<T> {
  const target = await findTarget(context.runtime, flags);
  const timeoutMs = flags.timeout ?? timeoutMsDefault;
  const deadline = new Deadline(context.runtime.clock, timeoutMs);
  using node = await reach(context, target, timeoutMs, deadline);
  using look = new LeaderLook(node.channels[0], deadline, Math.min(lookMs, timeoutMs * lookShare));
  try {
    return await body(node);
  } catch (error) {
    throw await explain(error, node.channels[0], { target, look, changes });
  }
}

/** Connects to the first of the addresses that answers. */
async function reach(
  context: CliContext,
  target: Target,
  timeoutMs: number,
  deadline: Deadline,
): Promise<NodeLink> {
  const { addresses } = target;
  const dialMs = addresses.length === 1 ? timeoutMs : Math.min(timeoutMs, tryMs);
  const channels = addresses.map((address) => open(context, target, address, dialMs));
  const failures: CoveyError[] = [];
  for (const channel of channels) {
    try {
      await channel.connect(Math.max(1, Math.min(dialMs, deadline.leftMs)));
      return new NodeLink([channel, ...channels.filter((one) => one !== channel)], deadline);
    } catch (error) {
      failures.push(CoveyError.from(explainFailure(error, channel, target.tls !== undefined)));
    }
  }
  for (const channel of channels) channel.close();
  const denied = failures.find(({ code }) => code === Code.permissionDenied);
  if (denied !== undefined) throw denied;
  const reasons = failures.map(({ rawMessage }) => rawMessage).join("; ");
  throw new CoveyError(Code.unavailable, `${reasons}; ${target.help}`, { cause: failures[0] });
}

function open(
  { runtime }: CliContext,
  target: Target,
  address: Address,
  dialTimeoutMs: number,
): Channel {
  const { net, clock, random } = runtime;
  return new Channel({
    net,
    clock,
    random,
    address,
    tls: target.tls,
    peer: "covey",
    dialTimeoutMs,
  });
}

/** Of a node that was reached. */
async function explain(
  error: unknown,
  channel: Channel,
  { target, look, changes }: {
    readonly target: Target;
    readonly look: LeaderLook;
    readonly changes: boolean;
  },
): Promise<unknown> {
  if (!(error instanceof CoveyError)) return error;
  const { code, rawMessage, sent, details } = error;
  const say = (to: Code, message: string): CoveyError =>
    new CoveyError(to, message, { cause: error, sent, details });
  switch (code) {
    case Code.unimplemented:
      return say(
        code,
        `${formatAddress(channel.address)} does not serve this: the module is off there ` +
          "(raft.enabled, kv.enabled, membership.enabled), or it runs another version of covey " +
          `(${rawMessage})`,
      );
    case Code.deadlineExceeded: {
      if (!await look.isLeaderless()) return error;
      const unknown = changes && sent !== false ? "; a change may have been made all the same" : "";
      return say(
        Code.unavailable,
        "no leader answered in time, and the node knows of none: a majority of the voters must be " +
          `up and reach each other; covey status says what the node sees${unknown}`,
      );
    }
    default:
      return explainFailure(error, channel, target.tls !== undefined);
  }
}

/**
 * Whether the node that does not answer a request knows of a leader. It is asked while the request
 * still has a little time: asked afterwards, the command would take longer than it was given.
 */
class LeaderLook implements Disposable {
  readonly #channel: Channel;
  readonly #deadline: Deadline;
  readonly #beforeMs: number;
  #timer: Timer;
  #answer: Promise<boolean> | undefined = undefined;

  constructor(channel: Channel, deadline: Deadline, beforeMs: number) {
    this.#channel = channel;
    this.#deadline = deadline;
    this.#beforeMs = beforeMs;
    this.#timer = this.#wait();
  }

  isLeaderless(): Promise<boolean> {
    // What was seen long ago is of no use to a command that goes on after its first answer.
    if (this.#deadline.leftMs < -lookMs) return this.#ask();
    return this.#answer ?? this.#ask();
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
  }

  #wait(leastMs = 0): Timer {
    const { clock, leftMs } = this.#deadline;
    return clock.timer(Math.max(leastMs, leftMs - this.#beforeMs), () => {
      // While a person was asked something, the command's time stood still.
      if (this.#deadline.leftMs > this.#beforeMs + 1) this.#timer = this.#wait(pausedLookMs);
      else this.#answer = this.#ask();
    }, undefined);
  }

  async #ask(): Promise<boolean> {
    const { leftMs } = this.#deadline;
    try {
      const { groups } = await createClient(Raft, this.#channel).status({}, {
        timeoutMs: leftMs > 0 ? Math.min(leftMs, lookMs) : lookMs,
      });
      return groups.length > 0 && groups[0].leader === 0n;
    } catch (error) {
      // It was only to say more about a failure.
      if (error instanceof CoveyError) return false;
      throw error;
    }
  }
}
