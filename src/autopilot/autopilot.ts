/**
 * Autopilot of one group on one node. Wherever the group's leader is, it looks at the members once a
 * second and whenever the view changes, and makes the one change that its core decides on. On all
 * other nodes it does nothing, not even wait for a time.
 */
import { Code, CoveyError } from "../base/error.ts";
import type { Logger } from "../base/log.ts";
import type { Instruments } from "../base/metrics.ts";
import type { Clock, Subscription, Timer } from "../runtime/port.ts";
import { Pilot } from "./core/pilot.ts";
import { describeChange } from "./core/words.ts";
import {
  type Change,
  changeKey,
  type Evaluation,
  type Inputs,
  type MemberReport,
  type Mode,
  type Policy,
} from "./core/types.ts";
import type { ManagedGroup } from "./managed_group.ts";
import type { autopilotMetrics } from "./metrics.ts";
import { type AskStanding, Standings } from "./standings.ts";
import { type FeedMember, type ViewFeed, viewOf } from "./view_feed.ts";

/** Between two looks. */
const lookMs = 1_000;
/** For one change; it is looked after again afterwards. */
export const changeMs = 30_000;
/** Changes of a dry run that are remembered, so that each is logged once. */
const saidMax = 256;

export interface AutopilotParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Instruments<typeof autopilotMetrics>;
  /** Counts that more members waited to be asked than may be asked at once. */
  readonly asksLimited: () => void;
  readonly policy: Policy;
  readonly group: ManagedGroup;
  readonly view: ViewFeed;
  readonly ask: AskStanding;
}

/** What `covey status` and the admin endpoint show. */
export interface AutopilotStatus {
  readonly mode: Mode;
  /** Whether this node decides; only then is the rest more than what is configured. */
  readonly isActive: boolean;
  readonly votersWanted: number;
  readonly voters: number;
  /** The next change, or the one under way, in words; empty for none. */
  readonly change: string;
  readonly isUnderWay: boolean;
  readonly why: string;
  readonly members: readonly MemberReport[];
}

export class Autopilot {
  readonly #parts: AutopilotParts;
  readonly #pilot: Pilot;
  readonly #standings: Standings;
  readonly #subscriptions: Subscription[] = [];
  #timer: Timer | undefined = undefined;
  /** Of the present term of leadership; undefined outside of one. */
  #term: AbortController | undefined = undefined;
  #latest: { readonly evaluation: Evaluation; readonly inputs: Inputs } | undefined = undefined;
  readonly #said = new Set<string>();
  /** Changes under way; more than one only while one of a former term comes to its end. */
  readonly #applying = new Set<Promise<void>>();

  constructor(parts: AutopilotParts) {
    this.#parts = parts;
    this.#pilot = new Pilot(parts.policy);
    this.#standings = new Standings({
      clock: parts.clock,
      ask: parts.ask,
      changed: () => this.#look(),
      limited: parts.asksLimited,
    });
    parts.metrics.votersWanted.value = parts.policy.voters;
  }

  /** Once. With the policy `off` it never does anything. */
  start(): void {
    const { policy, group, view } = this.#parts;
    if (policy.mode === "off") return;
    this.#subscriptions.push(
      view.changed(() => this.#look()),
      group.led((leads) => leads ? this.#begin() : this.#end()),
    );
  }

  /** Resolves when nothing of it is under way any more. */
  async stop(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription.cancel();
    this.#subscriptions.length = 0;
    this.#end();
    await Promise.all(this.#applying);
  }

  status(): AutopilotStatus {
    const { policy } = this.#parts;
    const latest = this.#latest;
    if (latest === undefined) {
      const why = policy.mode === "off"
        ? "autopilot is off"
        : this.#term === undefined
        ? "the node that leads the group decides"
        : "nothing was looked at yet";
      const { mode, voters: votersWanted } = policy;
      return {
        mode,
        isActive: false,
        votersWanted,
        voters: 0,
        change: "",
        isUnderWay: false,
        why,
        members: [],
      };
    }
    const { mode, votersWanted, voters, change, why } = latest.evaluation;
    const { inFlight } = this.#pilot;
    const shown = inFlight ?? change;
    return {
      mode,
      isActive: true,
      votersWanted,
      voters,
      change: shown === undefined ? "" : describeChange(shown, latest.inputs.group.replicas),
      isUnderWay: inFlight !== undefined,
      why,
      members: this.#pilot.report(),
    };
  }

  #begin(): void {
    if (this.#term !== undefined) return;
    this.#term = new AbortController();
    this.#parts.metrics.active.value = 1;
    this.#look();
  }

  /** What is under way is left to the next leader, who sees what came of it. */
  #end(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#term?.abort();
    this.#term = undefined;
    this.#pilot.forget();
    this.#standings.clear();
    this.#latest = undefined;
    const { metrics } = this.#parts;
    metrics.active.value = 0;
    metrics.inFlight.value = 0;
    metrics.pending.value = 0;
    metrics.voters.with("healthy").value = 0;
    metrics.voters.with("missing").value = 0;
  }

  #look(): void {
    const { clock, group, metrics, policy } = this.#parts;
    if (this.#term === undefined) return;
    this.#timer?.cancel();
    this.#timer = clock.timer(lookMs, () => this.#look(), undefined);
    const inputs = this.#inputs(group);
    if (inputs === undefined) return;
    const nowMs = clock.monotonicMs();
    const evaluation = this.#pilot.evaluate(inputs, nowMs);
    this.#latest = { evaluation, inputs };
    metrics.evaluations.value++;
    this.#count(evaluation);
    const { change } = evaluation;
    if (change === undefined) return;
    const words = describeChange(change, inputs.group.replicas);
    if (policy.mode === "dry_run") this.#say(change, words, evaluation.why);
    else this.#apply(change, words, evaluation.why);
  }

  #inputs(group: ManagedGroup): Inputs | undefined {
    const { view } = this.#parts;
    const picture = group.picture();
    if (picture === undefined) return undefined;
    const members = view.current?.members ?? [];
    const heard = new Set(
      picture.replicas.filter(({ inContact }) => inContact).map(({ nodeId }) => nodeId),
    );
    this.#standings.want(
      members.filter((member: FeedMember) => member.role === 0 && !heard.has(member.nodeId)),
    );
    const departures = new Map(
      picture.replicas.flatMap(({ nodeId }) => {
        const departure = view.departure(nodeId);
        return departure === undefined ? [] : [[nodeId, departure] as const];
      }),
    );
    return {
      view: viewOf(view, (nodeId) => this.#standings.of(nodeId)),
      departures,
      group: picture,
    };
  }

  #count({ change, voters, votersHealthy }: Evaluation): void {
    const { metrics } = this.#parts;
    metrics.voters.with("healthy").value = votersHealthy;
    metrics.voters.with("missing").value = voters - votersHealthy;
    metrics.pending.value = change === undefined ? 0 : 1;
    metrics.inFlight.value = this.#pilot.inFlight === undefined ? 0 : 1;
  }

  #say(change: Change, words: string, why: string): void {
    const key = changeKey(change);
    if (this.#said.has(key)) return;
    if (this.#said.size >= saidMax) this.#said.delete([...this.#said][0]);
    this.#said.add(key);
    this.#parts.logger.info("autopilot would make a change, were it not a dry run", {
      change: words,
      why,
    });
  }

  #apply(change: Change, words: string, why: string): void {
    this.#parts.logger.info("autopilot makes a change", { change: words, why });
    const running = this.#run(change, words, this.#term!);
    this.#applying.add(running);
    void running.finally(() => this.#applying.delete(running));
  }

  async #run(change: Change, words: string, term: AbortController): Promise<void> {
    const { clock, logger, metrics } = this.#parts;
    const sinceMs = clock.monotonicMs();
    let error: CoveyError | undefined;
    try {
      await this.#perform(change, term.signal);
    } catch (cause) {
      error = CoveyError.from(cause, Code.internal);
    }
    const isOver = this.#term !== term;
    const outcome = error === undefined ? "done" : isOver ? "unknown" : "failed";
    metrics.changes.with(kindOf(change), outcome).value++;
    if (error !== undefined) {
      const fields = { change: words, why: error.rawMessage };
      if (isOver) logger.info("autopilot leaves a change to the next leader", fields);
      else logger.warning("a change of autopilot failed", fields);
    } else {
      // It has been given a replica since it said that it has none.
      if (change.kind === "add_learner") this.#standings.forget(change.nodeId);
      const tookMs = Math.round(clock.monotonicMs() - sinceMs);
      logger.info("autopilot made a change", { change: words, tookMs });
    }
    // What the pilot knew of a former term it has forgotten, this change included.
    if (isOver) return;
    this.#pilot.ended(
      error === undefined ? { kind: "done" } : { kind: "failed", why: error.rawMessage },
      clock.monotonicMs(),
    );
    this.#look();
  }

  /** Rejects when the time is over, or the term, whatever the request does then. */
  async #perform(change: Change, term: AbortSignal): Promise<void> {
    const { clock, group } = this.#parts;
    const abort = new AbortController();
    const options = { timeoutMs: changeMs, signal: abort.signal };
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: unknown): void => {
        timer.cancel();
        term.removeEventListener("abort", end);
        if (error === undefined) resolve();
        else reject(error);
      };
      const end = (): void => {
        settle(new CoveyError(Code.aborted, "this node leads no more"));
        abort.abort();
      };
      const timer = clock.timer(changeMs, () => {
        settle(new CoveyError(Code.deadlineExceeded, "it took too long"));
        abort.abort();
      }, undefined);
      term.addEventListener("abort", end);
      request(group, change, options).then(() => settle(), settle);
    });
  }
}

function request(
  group: ManagedGroup,
  change: Change,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<void> {
  switch (change.kind) {
    case "add_learner":
      return group.addLearner(change, options);
    case "voters":
      return group.change(change, options);
    case "transfer":
      return group.transfer(change.to, options);
  }
}

/** For the metric. */
function kindOf(change: Change): string {
  if (change.kind !== "voters") return change.kind;
  const { promote, demote, remove } = change;
  if (promote.length > 0) return demote.length + remove.length > 0 ? "replace" : "promote";
  return demote.length > 0 ? "demote" : "remove";
}
