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
import { findTarget, type Target } from "./target.ts";

/** Longer than a node takes to find out that there is no leader. */
const timeoutMsDefault = 10_000;
/** For one of several addresses: the next one may be better. */
const tryMs = 2000;
/** For asking a node that just has not answered. */
const lookMs = 1000;

/** A node that answered, and the others that were named with it. */
export class NodeLink implements Disposable {
  /** The one that answered comes first; the others are not dialled before they are used. */
  readonly channels: readonly Channel[];
  /** Milliseconds for each request. */
  readonly timeoutMs: number;

  constructor(channels: readonly Channel[], timeoutMs: number) {
    this.channels = channels;
    this.timeoutMs = timeoutMs;
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
  using node = await reach(context, target, timeoutMs);
  try {
    return await body(node);
  } catch (error) {
    throw await explain(error, node.channels[0], target, changes);
  }
}

/** Connects to the first of the addresses that answers. */
async function reach(context: CliContext, target: Target, timeoutMs: number): Promise<NodeLink> {
  const { addresses } = target;
  const dialMs = addresses.length === 1 ? timeoutMs : Math.min(timeoutMs, tryMs);
  const channels = addresses.map((address) => open(context, target, address, dialMs));
  const failures: CoveyError[] = [];
  for (const channel of channels) {
    try {
      await channel.connect(dialMs);
      return new NodeLink([channel, ...channels.filter((one) => one !== channel)], timeoutMs);
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
  target: Target,
  changes: boolean,
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
          `(raft.enabled, kv.enabled), or it runs another version of covey (${rawMessage})`,
      );
    case Code.deadlineExceeded: {
      if (!await isLeaderless(channel)) return error;
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

async function isLeaderless(channel: Channel): Promise<boolean> {
  try {
    const { groups } = await createClient(Raft, channel).status({}, { timeoutMs: lookMs });
    return groups.length > 0 && groups[0].leader === 0n;
  } catch (error) {
    // It was only to say more about a failure that stands already.
    if (error instanceof CoveyError) return false;
    throw error;
  }
}
