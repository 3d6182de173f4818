/** covey.cache.v1.Cache: what members ask each other, and what operators do. */
import type { Cache, GetRequest, GetResponseSchema } from "../gen/covey/cache/v1/cache_pb.ts";
import { PeekResponse_State } from "../gen/covey/cache/v1/cache_pb.ts";
import type { CacheModule } from "./cache_module.ts";
import type { CacheNamespace } from "./namespace.ts";
import type { CallContext, Handlers } from "../ttrpc/service.ts";
import type { MessageInitShape } from "npm:@bufbuild/protobuf@2.17.0";
import { refused } from "./refusal.ts";
import { removeEverywhere, removeHere } from "./removal.ts";

type GetInit = MessageInitShape<typeof GetResponseSchema>;

function stateOf(namespace: CacheNamespace, key: string): PeekResponse_State {
  if (namespace.peek(key) !== undefined) return PeekResponse_State.FOUND;
  return namespace.isFilling(key) ? PeekResponse_State.FILLING : PeekResponse_State.ABSENT;
}

/** What an answer takes beside the value. */
const envelopeBytes = 256;

export function cacheHandlers(module: CacheModule): Handlers<typeof Cache> {
  const { counters, owners, settings, store } = module;
  const valueBytesMax = settings.messageBytesMax - envelopeBytes;

  function fits<T extends { readonly value: Uint8Array }>(answer: T): T {
    if (answer.value.length <= valueBytesMax) return answer;
    throw refused(
      "value_too_large",
      `the value has ${answer.value.length} bytes, and a message ${settings.messageBytesMax}: it ` +
        "is only to be had from a source of the caller's own node",
    );
  }

  function namespaceOf(name: string): CacheNamespace {
    const namespace = module.namespace(name);
    if (namespace !== undefined) return namespace;
    throw refused("not_offered", `cache namespace ${JSON.stringify(name)} is not used here`);
  }

  function get(request: GetRequest, context: CallContext): GetInit | Promise<GetInit> {
    const namespace = namespaceOf(request.namespace);
    const { key, noForward } = request;
    if (noForward && owners.isOther(request)) counters.otherView++;
    const found = namespace.found(key);
    if (found !== undefined) return fits(found);
    return namespace.serve(key, noForward, context.timeoutMs, context.signal).then(fits);
  }

  return {
    get,
    peek: ({ namespace, key }) => ({ state: stateOf(namespaceOf(namespace), key) }),
    remove: async ({ namespace, key, everywhere }, { timeoutMs, signal }) => {
      if (namespace === "") throw refused("namespace_invalid", "the namespace is empty: name one");
      if (!everywhere) return { removed: BigInt(removeHere(module, namespace, key)) };
      const { removed, unreached } = await removeEverywhere(module, {
        namespace,
        key,
        timeoutMs,
        signal,
      });
      return { removed: BigInt(removed), unreached };
    },
    stats: () => ({
      memoryBytes: BigInt(store.bytes),
      memoryBytesMax: BigInt(settings.memoryBytesMax),
      copyBytes: BigInt(store.copies.bytes),
      entries: BigInt(store.entries),
      copies: BigInt(store.copies.count),
      hits: BigInt(counters.hits),
      copyHits: BigInt(counters.copyHits),
      asked: BigInt(counters.asked),
      filled: BigInt(counters.filled),
      fillErrors: BigInt(counters.fillErrors),
      evicted: BigInt(store.evicted),
      waiting: module.crowd.waiting,
      filling: module.slots.running,
      namespaces: module.namespaces.map(({ name, hasSource, entries }) => ({
        name,
        offered: hasSource,
        entries: BigInt(entries),
      })),
    }),
  };
}
