/**
 * Clients that find the members by what they offer: the router, with what it has to know of the view,
 * of what members say of themselves, and of how far they are.
 */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import type { MetricsRegistry } from "../base/metrics.ts";
import { Prng } from "../base/prng.ts";
import type { Members } from "../membership/members.ts";
import { Distances } from "../routing/core/distances.ts";
import type { RoutedMember } from "../routing/members.ts";
import { showRoutingMetrics } from "../routing/metrics.ts";
import type { RoutedClientOptions } from "../routing/options.ts";
import { createRoutedClient } from "../routing/routed_client.ts";
import { Router } from "../routing/router.ts";
import type { Runtime, Subscription } from "../runtime/port.ts";
import { createLocalClient, type LocalCaller } from "../ttrpc/local_client.ts";
import type { Client } from "../ttrpc/service.ts";
import { coordinateKey, linesOf, servicesKey, tagsKey } from "./member_facts.ts";
import type { NodeRpc } from "./rpc.ts";

/** Between two times that this node says where it is, at least: it is told to everybody. */
const sayMs = 60_000;
/** With many members each says it less often, so that about one of them does in a second. */
const sayMsPerMember = 1_000;

export interface MemberRoutingParts {
  readonly runtime: Runtime;
  readonly metrics: MetricsRegistry;
  readonly members: Members;
  readonly rpc: NodeRpc;
  readonly caller: LocalCaller;
  readonly address: string;
}

export class MemberRouting {
  readonly #members: Members;
  readonly #runtime: Runtime;
  readonly #router: Router;
  readonly #distances: Distances;
  readonly #subscription: Subscription;
  #saidMs: number;

  constructor({ runtime, metrics, members, rpc, caller, address }: MemberRoutingParts) {
    const { clock, random } = runtime;
    this.#members = members;
    this.#runtime = runtime;
    this.#saidMs = clock.monotonicMs();
    const seed = new Uint8Array(4);
    random.fill(seed);
    this.#distances = new Distances(new Prng(new DataView(seed.buffer).getUint32(0)));
    this.#router = new Router({
      clock,
      random,
      self: address,
      views: {
        get current() {
          return members.view ?? nobody;
        },
        changed: (told) => members.feed.observe((_view, said) => said === undefined && told()),
      },
      offers: {
        servicesOf: (member) => this.#linesOf(member, servicesKey),
        tagsOf: (member) => this.#linesOf(member, tagsKey),
        changed: (told) => members.feed.observe((_view, said) => said !== undefined && told()),
      },
      trips: { tripMs: (of) => this.#distances.tripMs(of, clock.monotonicMs()) },
      channel: (to) => rpc.channel(to, { peer: "covey" }),
      local: (service) => createLocalClient(service, caller),
    });
    this.#subscription = members.feed.observe(({ members: all }) =>
      this.#distances.retain(new Set(all.map((member) => member.address)))
    );
    showRoutingMetrics(metrics, this.#router);
  }

  client<S extends DescService>(service: S, options?: RoutedClientOptions): Client<S> {
    return createRoutedClient(service, this.#router, options);
  }

  /** A member answered a probe after so long. */
  probed(address: string, tripMs: number): void {
    const nowMs = this.#runtime.clock.monotonicMs();
    const { view } = this.#members;
    const member = this.#members.feed.memberAt(address);
    if (view === undefined || member === undefined) return;
    const coordinate = this.#members.factsOf(member).get(coordinateKey);
    if (coordinate !== undefined) this.#distances.told(address, coordinate);
    this.#distances.probed({ address, tripMs, nowMs });
    const everyMs = Math.max(sayMs, view.members.length * sayMsPerMember);
    if (nowMs - this.#saidMs < everyMs) return;
    this.#saidMs = nowMs;
    this.#members.say(coordinateKey, this.#distances.bytes);
  }

  close(): void {
    this.#subscription.cancel();
    this.#router.close();
  }

  #linesOf({ address }: RoutedMember, key: string): readonly string[] {
    const member = this.#members.feed.memberAt(address);
    return member === undefined ? [] : linesOf(this.#members.factsOf(member).get(key));
  }
}

const nobody = { members: [] };
