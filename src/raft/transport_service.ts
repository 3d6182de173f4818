/** What a node serves to the other nodes of its cluster: see transport.proto. */
import { Code, CoveyError } from "../base/error.ts";
import type { Identity } from "../base/identity.ts";
import { identityProblem } from "../base/speaks_for.ts";
import type { Frame, Hello, ProposeRequest, Transport } from "../gen/covey/raft/v1/transport_pb.ts";
import { LinkAnswers } from "../ttrpc/link_answers.ts";
import type { CallContext, Handlers } from "../ttrpc/service.ts";
import { Role } from "./core/ready.ts";
import type { Cluster } from "./cluster.ts";
import { helloProblem } from "./hello.ts";
import type { RaftHost } from "./host.ts";
import { decodeEntryData } from "./members.ts";
import type { LinkKind, Peer } from "./peer.ts";
import { RareLog } from "./rare_log.ts";
import { SnapshotReceiver } from "./snapshot_receiver.ts";
import { follow } from "./follow.ts";
import type { FrameInit } from "./wire.ts";

/** How recently a process must have been heard for another one with its id to be refused. */
const aliveMs = 3_000;

export class TransportService {
  readonly #cluster: Cluster;
  readonly #receiver: SnapshotReceiver;
  /** Whoever is refused dials again and again. */
  #refusals: RareLog | undefined = undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#receiver = new SnapshotReceiver(() => this.#host, cluster.logger);
  }

  handlers(): Handlers<typeof Transport> {
    return {
      control: (frames, context) => new LinkAnswers(() => this.#accept("control", frames, context)),
      log: (frames, context) => new LinkAnswers(() => this.#accept("log", frames, context)),
      sendSnapshot: (chunks, context) =>
        this.#receiver.receive(chunks, (hello) => this.#greet(hello, context.identity)),
      propose: (request, context) => this.#propose(request, context),
      identify: (request, context) => this.#cluster.identify(request, context.identity),
      invite: (request, context) => this.#cluster.invited(request, context.identity),
      follow: (request, context) => follow(this.#host, request, context.signal),
    };
  }

  get #host(): RaftHost {
    const { host } = this.#cluster;
    if (host === undefined) {
      throw new CoveyError(Code.failedPrecondition, "the node there is part of no cluster yet");
    }
    if (host.isStopped) throw new CoveyError(Code.unavailable, "the node is shutting down");
    return host;
  }

  /** Who is on the other end; throws when it is not one of this cluster's nodes. */
  #greet(hello: Hello | undefined, identity: Identity): Peer {
    const host = this.#host;
    if (hello === undefined) {
      throw new CoveyError(Code.invalidArgument, "a stream between nodes begins with a hello");
    }
    const problem = helloProblem(host.facts, hello) ?? identityProblem(identity, hello.nodeId);
    const { nodeId, name, address } = hello;
    this.#refusals ??= new RareLog(host.clock, host.logger);
    if (problem !== undefined) {
      this.#refusals.say("warning", "a node was refused", { node: name, why: problem.rawMessage });
      throw problem;
    }
    const peer = host.meet(nodeId, name, address);
    if (peer.instance !== hello.instance && peer.instance !== 0n) {
      if (peer.connected && host.nowMs() - peer.heardMs < aliveMs) {
        const why = `a node with the id ${nodeId} is connected already: stop one of the two and ` +
          "give it a data directory of its own";
        const message = "two processes run with one node id: one has a copied data directory";
        this.#refusals.say("error", message, { node: name, address, why });
        throw new CoveyError(Code.alreadyExists, why);
      }
      peer.restarted();
    }
    host.heard(peer, hello);
    // A node knows best where it is reached.
    peer.move(hello.address);
    return peer;
  }

  async #accept(
    kind: LinkKind,
    frames: AsyncIterable<Frame>,
    context: CallContext,
  ): Promise<AsyncIterator<FrameInit>> {
    const iterator = frames[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done === true) {
      throw new CoveyError(Code.invalidArgument, "a stream between nodes begins with a hello");
    }
    const peer = this.#greet(first.value.hello, context.identity);
    const rest = { [Symbol.asyncIterator]: () => iterator };
    return peer.link(kind).accept(first.value, rest, () => void iterator.return?.());
  }

  async #propose(
    request: ProposeRequest,
    { timeoutMs, signal }: CallContext,
  ): Promise<{ result?: Uint8Array; refused?: string; retry?: boolean }> {
    const host = this.#host;
    if (request.clusterId !== host.clusterId) {
      return { refused: `this node belongs to cluster ${host.clusterId}`, retry: false };
    }
    const group = host.group(request.group);
    if (group === undefined || group.role !== Role.leader) {
      return { refused: "this node does not lead", retry: true };
    }
    if (decodeEntryData(request.data).kind !== "machine") {
      throw new CoveyError(Code.invalidArgument, "only the machine's data is proposed from afar", {
        sent: false,
      });
    }
    try {
      const result = await group.proposeHere(request.data, { timeoutMs, signal });
      return { result: group.machine.encodeResult(result) };
    } catch (error) {
      const failure = CoveyError.from(error);
      // To try again, here or elsewhere, does not help.
      const isFinal = failure.code === Code.unimplemented || failure.code === Code.invalidArgument;
      if (failure.sent !== false || isFinal) throw failure;
      return {
        refused: failure.rawMessage,
        retry: failure.code !== Code.resourceExhausted,
      };
    }
  }
}
