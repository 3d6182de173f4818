/**
 * A client whose key lives as long as its lease: it renews for a while and then stops, or revokes.
 * As long as renewals are acknowledged, nobody ends the lease; once it has ended, none is.
 */
import { encodeText } from "../../../src/base/bytes.ts";
import { KV, Lease } from "../../../src/gen/covey/kv/v1/kv_pb.ts";
import { createClient } from "../../../src/ttrpc/client.ts";
import { SimulatedClient } from "./client_machine.ts";
import type { RaftWorld } from "./world.ts";

const callMs = 1_500;
/** Clocks may run this much too fast. */
const clockShare = 0.95;

/** What is known of a lease, whoever granted it. */
export class LeaseBook {
  readonly #world: RaftWorld;
  /** When the newest renewal that was acknowledged was called, and the time to live. */
  readonly #renewed = new Map<number, { readonly callMs: number; readonly ttlMs: number }>();
  readonly #ended = new Map<number, number>();

  constructor(world: RaftWorld) {
    this.#world = world;
  }

  /** Acknowledged: at the time of the call or later, the lease began anew. */
  renewed(id: number, calledMs: number, ttlMs: number): void {
    const endedMs = this.#ended.get(id);
    this.#world.verdict.check(
      endedMs === undefined || calledMs <= endedMs,
      "a lease that is over is not renewed",
      () => `lease ${id} ended at ${endedMs}, and a renewal called at ${calledMs} was acknowledged`,
    );
    this.#renewed.set(id, { callMs: calledMs, ttlMs });
  }

  /** The log says that its time is over. */
  expired(id: number): void {
    const { nowMs } = this.#world.simulation;
    this.#world.mark("lease expiry");
    const known = this.#renewed.get(id);
    this.#world.verdict.check(
      known === undefined || nowMs >= known.callMs + known.ttlMs * clockShare,
      "a lease lives as long as it was granted",
      () => `lease ${id} of ${known?.ttlMs} ms, renewed at ${known?.callMs}, ended at ${nowMs}`,
    );
    this.ended(id);
  }

  ended(id: number): void {
    if (!this.#ended.has(id)) this.#ended.set(id, this.#world.simulation.nowMs);
  }
}

export class LeaseHolder extends SimulatedClient {
  async run(): Promise<void> {
    for (;;) {
      await this.sleep(this.random.between(200, 4000));
      if (this.world.calm) return;
      try {
        await this.#hold();
      } catch (thrown) {
        this.expectCoveyError(thrown);
      }
    }
  }

  async #hold(): Promise<void> {
    const { leases, simulation } = this.world;
    const options = { timeoutMs: callMs };
    const askedMs = simulation.nowMs;
    const granted = await createClient(Lease, this.channel()).leaseGrant(
      { ttl: BigInt(this.random.between(1, 3)) },
      options,
    );
    const id = Number(granted.id);
    leases.renewed(id, askedMs, Number(granted.ttl) * 1000);
    await createClient(KV, this.channel()).put({
      key: encodeText(`lease/${this.name}`),
      value: encodeText(`${id}:`),
      lease: granted.id,
    }, options);
    for (let renewals = this.random.below(12); renewals > 0; renewals--) {
      await this.sleep(this.random.between(100, 1200));
      if (this.world.calm || !await this.#renew(id)) return;
    }
    if (this.random.chance(0.3)) {
      await createClient(Lease, this.channel()).leaseRevoke({ id: granted.id }, options);
    }
  }

  /** False when the lease is over. */
  async #renew(id: number): Promise<boolean> {
    const { simulation, leases } = this.world;
    const calledMs = simulation.nowMs;
    const client = createClient(Lease, this.channel());
    const requests = [{ id: BigInt(id) }];
    async function* send(): AsyncGenerator<{ id: bigint }> {
      yield* requests;
    }
    for await (const { ttl } of client.leaseKeepAlive(send(), { timeoutMs: callMs })) {
      if (ttl <= 0n) return false;
      leases.renewed(id, calledMs, Number(ttl) * 1000);
      return true;
    }
    return true;
  }
}
