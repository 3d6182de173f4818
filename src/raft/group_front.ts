/** The side of a group that its users see: requests and observers. What is behind it is the group. */
import type { Subscription } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { GroupEvents } from "./group_events.ts";
import type { GroupHost, GroupObserver, GroupOfAny, RequestOptions } from "./group_types.ts";
import { roomProblem } from "./low_space.ts";
import { type DriverCommand, encodeDriverCommand } from "./members.ts";
import { GroupRequests } from "./requests.ts";
import { Supply } from "./supply.ts";

export abstract class GroupFront<Result> {
  protected readonly events: GroupEvents<Result>;
  protected readonly requests: GroupRequests<Result>;
  /** Of entries, by whoever leads. */
  readonly supply: Supply;
  readonly #host: GroupHost;

  constructor(host: GroupHost) {
    this.#host = host;
    this.events = new GroupEvents(host.clock, host.logger);
    this.supply = new Supply(() => this.events.hindered());
    this.requests = new GroupRequests(this as unknown as GroupOfAny, host);
  }

  /** Requests that wait here. */
  get pending(): { readonly proposals: number; readonly reads: number } {
    return { proposals: this.requests.size, reads: this.requests.barriers.size };
  }

  /** Why entries do not reach this replica, which can hear its leader; undefined while they do. */
  get hindrance(): string | undefined {
    return this.supply.problem;
  }

  /** Whose disks keep the leader here from committing anything, in one line; undefined otherwise. */
  get roomProblem(): string | undefined {
    return roomProblem(this.#host, this as unknown as GroupOfAny);
  }

  observe(observer: GroupObserver<Result>): Subscription {
    return this.events.observe(observer);
  }

  /** Nobody waits here for a proposal or a read. */
  get isIdle(): boolean {
    return this.requests.isIdle;
  }

  /** Resolves as soon as it is so; see {@link GroupEvents.when}. */
  when(isSo: () => boolean, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return this.events.when(isSo, timeoutMs, signal);
  }

  /** Something happened that somebody may wait for. */
  changed(): void {
    this.events.changed();
  }

  /** Resolves when there is a leader anew; see {@link GroupEvents.leaderChanged}. */
  leaderChanged(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return this.events.leaderChanged(timeoutMs, signal);
  }

  /** Proposes from any node; see the rejections of `KvGroup.propose`. */
  propose(data: Uint8Array, options?: RequestOptions): Promise<Result> {
    return this.requests.propose(data, options);
  }

  /** Proposes an entry's bytes here or not at all. */
  proposeHere(encoded: Uint8Array, options: RequestOptions): Promise<Result> {
    return this.requests.proposeHere(encoded, options);
  }

  /** Resolves when the machine here has everything that was acknowledged before the call. */
  barrier(options?: RequestOptions): Promise<void> {
    return this.requests.barrier(options);
  }

  leaderChannel(options?: RequestOptions): Promise<"self" | Channel> {
    return this.requests.leaderChannel(options);
  }

  /** A command of the consensus module's own; resolves when it is applied. Leaders only. */
  async command(command: DriverCommand, options: RequestOptions = {}): Promise<void> {
    await this.proposeHere(encodeDriverCommand(command), options);
  }
}
