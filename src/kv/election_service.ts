/** covey.kv.v1.Election and covey.kv.v1.Lock. */
import type {
  Election,
  LeaderKey,
  LeaderRequest,
  LeaderResponseSchema,
  Lock,
} from "../gen/covey/kv/v1/kv_pb.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import type { CallContext, Handlers } from "../ttrpc/service.ts";
import { type Candidate, Candidates } from "./candidates.ts";
import { Code, CoveyError } from "../base/error.ts";
import { failed, type KvParts, within } from "./kv_parts.ts";
import { invalid } from "./refusal.ts";
import { keyValueInit } from "./response.ts";
import { noBytes } from "./core/bytes.ts";
import { toNumber } from "./request.ts";

type LeaderInit = MessageInitShape<typeof LeaderResponseSchema>;

export function electionHandlers(parts: KvParts): Handlers<typeof Election> {
  const { counters, headers, hub, machine } = parts;
  const candidates = new Candidates(parts);

  async function* observe(
    request: LeaderRequest,
    context: CallContext,
  ): AsyncGenerator<LeaderInit> {
    nameOf(request.name);
    await parts.group.barrier(within(context)).catch(failed);
    const interval = candidates.intervalOf(request.name);
    let told = "";
    for (;;) {
      await hub.readable();
      const { entry, revision } = await candidates.oldest(request.name);
      const seen = entry === undefined ? "" : `${entry.createRevision} ${entry.modRevision}`;
      if (entry !== undefined && seen !== told) {
        told = seen;
        yield { header: headers.of(revision), kv: keyValueInit(entry) };
        // Its reader may have taken its time.
        continue;
      }
      if (machine.revision === revision) await hub.change([interval], context.signal);
    }
  }

  return {
    campaign: async (request, context) => {
      counters.campaigns++;
      const { name, value } = request;
      const lease = toNumber(request.lease, "lease");
      const { key, createRevision } = await candidates.enter(name, lease, value, context);
      const rev = BigInt(createRevision);
      const leader = { name, key, rev, lease: request.lease };
      return { header: headers.of(machine.revision), leader };
    },
    proclaim: async (request, context) => {
      const candidate = candidateOf(request.leader);
      const lease = toNumber(request.leader?.lease ?? 0n, "leader.lease");
      const done = await candidates.proclaim(candidate, lease, request.value, context);
      if (!done.succeeded) throw notElected();
      return { header: headers.of(done.revision) };
    },
    leader: async (request, context) => {
      nameOf(request.name);
      await parts.group.barrier(within(context)).catch(failed);
      const { entry, revision } = await candidates.oldest(request.name);
      if (entry === undefined) {
        throw new CoveyError(Code.notFound, "nobody is elected: campaign for it");
      }
      return { header: headers.of(revision), kv: keyValueInit(entry) };
    },
    observe,
    resign: async (request, context) => {
      const revision = await candidates.leave(candidateOf(request.leader), context);
      return { header: headers.of(revision) };
    },
  };
}

export function lockHandlers(parts: KvParts): Handlers<typeof Lock> {
  const { commands, counters, headers, machine } = parts;
  const candidates = new Candidates(parts);
  return {
    lock: async (request, context) => {
      counters.locks++;
      const lease = toNumber(request.lease, "lease");
      const { key } = await candidates.enter(request.name, lease, noBytes, context);
      return { header: headers.of(machine.revision), key };
    },
    unlock: (request, context) =>
      commands.propose(
        { kind: "deleteRange", key: request.key, end: noBytes, previous: false },
        undefined,
        within(context),
      ).then((result) => {
        const { revision } = commands.expect(result, "deleteRange");
        return { header: headers.of(revision) };
      }, failed),
  };
}

function nameOf(name: Uint8Array): void {
  if (name.length === 0) throw invalid("the name is empty");
}

function candidateOf(leader: LeaderKey | undefined): Candidate {
  if (leader === undefined || leader.key.length === 0) {
    throw invalid("the leader's key is missing: give what Campaign answered");
  }
  const createRevision = toNumber(leader.rev, "leader.rev");
  // It would stand for a key that is not there, and a proclamation would make one.
  if (createRevision === 0) throw invalid("leader.rev is missing: give what Campaign answered");
  return { key: leader.key, createRevision };
}

function notElected(): CoveyError {
  return new CoveyError(
    Code.failedPrecondition,
    "not elected any more: the candidacy was resigned, or its lease ended; campaign again",
  );
}
