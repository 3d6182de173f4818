/**
 * The same random requests to a real etcd 3 and to a store of ours: the answers must be the same,
 * field by field, revisions included. What differs on purpose is in docs/reference/kv.md.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { type DescMessage, fromJson, type JsonValue, toJson } from "npm:@bufbuild/protobuf@2.17.0";
import { Code, CoveyError } from "../../src/base/error.ts";
import { Prng } from "../../src/base/prng.ts";
import {
  CompactRequestSchema,
  DeleteRangeRequestSchema,
  KV,
  Lease,
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
  LeaseTimeToLiveRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  TxnRequestSchema,
  Watch,
  WatchCreateRequestSchema,
  WatchResponseSchema,
} from "../../src/gen/covey/kv/v1/kv_pb.ts";
import { type Answer, EtcdServer, type Json, whyNoEtcd } from "./etcd_server.ts";
import { type Request, RequestSource } from "./etcd_requests.ts";
import { FakeCluster, settle } from "./support.ts";
import { Requests } from "../../src/kv/client_requests.ts";

const paths: Readonly<Record<Request["kind"], string>> = {
  range: "kv/range",
  put: "kv/put",
  deleteRange: "kv/deleterange",
  txn: "kv/txn",
  compact: "kv/compaction",
  grant: "lease/grant",
  revoke: "lease/revoke",
  timeToLive: "lease/timetolive",
  leases: "lease/leases",
};

/** Ours, spoken to in etcd's JSON. */
class Ours {
  readonly cluster = new FakeCluster();
  readonly #kv = this.cluster.nodes[0].local(KV);
  readonly #lease = this.cluster.nodes[0].local(Lease);

  async call({ kind, json }: Request): Promise<Answer> {
    const read = <S extends DescMessage>(schema: S) =>
      fromJson(schema, lowerCased(json) as JsonValue);
    const calls: Readonly<Record<Request["kind"], () => Promise<{ $typeName: string }>>> = {
      range: () => this.#kv.range(read(RangeRequestSchema)),
      put: () => this.#kv.put(read(PutRequestSchema)),
      deleteRange: () => this.#kv.deleteRange(read(DeleteRangeRequestSchema)),
      txn: () => this.#kv.txn(read(TxnRequestSchema)),
      compact: () => this.#kv.compact(read(CompactRequestSchema)),
      grant: () => this.#lease.leaseGrant(read(LeaseGrantRequestSchema)),
      revoke: () => this.#lease.leaseRevoke(read(LeaseRevokeRequestSchema)),
      timeToLive: () => this.#lease.leaseTimeToLive(read(LeaseTimeToLiveRequestSchema)),
      leases: () => this.#lease.leaseLeases({}),
    };
    try {
      const body = await settle(this.cluster, calls[kind]());
      const schemas = { ...KV.method, ...Lease.method } as Record<string, { output: DescMessage }>;
      const schema = Object.values(schemas).find(({ output }) =>
        output.typeName === body.$typeName
      );
      assert.ok(schema !== undefined);
      const shown = toJson(schema.output, body, { useProtoFieldName: true });
      return { ok: true, body: shown as unknown as Json };
    } catch (error) {
      if (!(error instanceof CoveyError)) throw error;
      return { ok: false, code: error.code, message: error.rawMessage };
    }
  }
}

/** Where etcd's gateway has upper case, and what ours has no need of. */
function lowerCased(json: Json): Json {
  const { TTL, ID, physical: _physical, ...rest } = json;
  return {
    ...rest,
    ...(TTL === undefined ? {} : { ttl: TTL }),
    ...(ID === undefined ? {} : { id: ID }),
  };
}

/** What is compared of an answer. */
function compared(kind: Request["kind"] | "watch", body: Json): unknown {
  if (kind === "leases") {
    const ids = (body.leases as Json[] | undefined ?? []).map((one) => Number(one.ID ?? one.id));
    return ids.sort((a, b) => a - b);
  }
  if (kind === "timeToLive") {
    const granted = body.grantedTTL ?? body.granted_ttl ?? "0";
    const isThere = Number(body.TTL ?? body.ttl ?? 0) >= 0;
    return {
      granted: isThere ? granted : "0",
      isThere,
      keys: [...(body.keys as string[] ?? [])].sort(),
    };
  }
  return stripped(body);
}

/** Of headers only the revision; names in one spelling. */
function stripped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(stripped);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value as Json).flatMap(([name, inner]): [string, unknown][] => {
    if (name === "header") {
      const { revision } = inner as Json;
      return revision === undefined ? [] : [["revision", revision]];
    }
    if (name === "type") return inner === "PUT" || inner === "TYPE_PUT" ? [] : [["type", "DELETE"]];
    return [[name === "TTL" || name === "ID" ? name.toLowerCase() : name, stripped(inner)]];
  });
  return Object.fromEntries(entries);
}

/** Refusals whose code differs on purpose, ours by etcd's. */
const otherCodes: ReadonlyMap<string, number> = new Map([
  ["etcdserver: lease already exists", Code.alreadyExists],
  ["etcdserver: too large lease TTL", Code.outOfRange],
]);

const faultCodes: readonly number[] = [Code.invalidArgument, Code.notFound, Code.outOfRange];

function hasSeveralFaults({ kind, json }: Request): boolean {
  return kind === "txn" ||
    (kind === "put" && (json.ignore_value === true || json.ignore_lease === true));
}

async function run(context: TestContext, seed: number, requests: number): Promise<void> {
  await using etcd = await EtcdServer.start();
  const ours = new Ours();
  const known = { revision: 1, compactRevision: 0 };
  const prng = new Prng(seed);
  const source = new RequestSource(prng, known);
  const counts = new Map<string, number>();
  const ask = async (request: Request): Promise<void> => {
    const { kind, json } = request;
    const where = `seed ${seed}, ${kind} ${JSON.stringify(json)}`;
    const theirs = await etcd.call(paths[kind], json);
    const own = await ours.call(request);
    counts.set(`${kind} ${theirs.ok}`, (counts.get(`${kind} ${theirs.ok}`) ?? 0) + 1);
    assert.equal(own.ok, theirs.ok, `${where}: ${JSON.stringify([own, theirs])}`);
    if (!own.ok && !theirs.ok) {
      const code = otherCodes.get(theirs.message) ?? theirs.code;
      // Which of several things that are wrong is told first is nobody's promise.
      const codes = hasSeveralFaults(request) ? faultCodes : [code];
      assert.ok(codes.includes(own.code), `${where}: ${JSON.stringify([own, theirs])}`);
    } else if (own.ok && theirs.ok) {
      assert.deepEqual(compared(kind, own.body), compared(kind, theirs.body), where);
      if (kind === "compact") known.compactRevision = Number(json.revision);
      const { revision } = (own.body.header ?? {}) as { revision?: string };
      known.revision = Math.max(known.revision, Number(revision ?? 0));
    }
  };
  for (let done = 0; done < requests; done++) await ask(source.next());
  for (let done = 0; done < 12; done++) await compareWatch(etcd, ours, source.watch(), ask, known);
  await ours.cluster.close();
  context.diagnostic(`seed ${seed}: ${JSON.stringify(Object.fromEntries(counts))}`);
}

/** Both tell the same history, up to a mark that is written now. */
async function compareWatch(
  etcd: EtcdServer,
  ours: Ours,
  request: Json,
  ask: (request: Request) => Promise<void>,
  known: { readonly revision: number },
): Promise<void> {
  const { key } = request;
  const put: Request = { kind: "put", json: { key, value: "" } };
  await ask(put);
  await ask({ kind: "deleteRange", json: { key } });
  const deleted = known.revision;
  await ask(put);
  const last = (request.filters as number[]).includes(0) ? deleted : known.revision;
  const eventsOf = (answers: readonly Json[]): unknown[] =>
    answers.flatMap((answer) => (answer.events as unknown[] | undefined ?? []).map(stripped));
  const isLast = (answer: Json): boolean =>
    answer.canceled === true ||
    eventsOf([answer]).some((event) => Number(((event as Json).kv as Json).mod_revision) >= last);
  const theirs = await etcd.watch(request, isLast);
  const requests = new Requests<{ request: { case: "createRequest"; value: object } }>();
  const value = fromJson(WatchCreateRequestSchema, request as JsonValue);
  requests.push({ request: { case: "createRequest", value } });
  const own: Json[] = [];
  const reading = (async () => {
    for await (const answer of ours.cluster.nodes[0].local(Watch).watch(requests)) {
      const shown = toJson(WatchResponseSchema, answer, { useProtoFieldName: true }) as Json;
      own.push(shown);
      if (isLast(shown)) return;
    }
  })();
  await settle(ours.cluster, reading);
  requests.end();
  const where = JSON.stringify(request);
  assert.deepEqual(eventsOf(own), eventsOf(theirs), where);
  const endOf = (answers: readonly Json[]) => {
    const { canceled, compact_revision } = answers[answers.length - 1];
    return { canceled, compact_revision };
  };
  assert.deepEqual(endOf(own), endOf(theirs), where);
}

for (const seed of [1, 2, 3]) {
  test(
    `a real etcd answers the same, seed ${seed}`,
    { skip: whyNoEtcd() },
    (context) => run(context, seed, 500),
  );
}
