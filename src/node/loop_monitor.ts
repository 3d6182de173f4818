/**
 * Watches the one thread that everything runs on: measures how long tasks hold the event loop, and
 * logs a stall above 100 ms with the task's name.
 *
 * It sees in two ways. Whoever does a piece of work that may be long says how long it took
 * ({@link LoopMonitor.ran}). And a heartbeat is due every 10 ms while there is traffic, every second
 * while there is none: what makes it late is a stall, whoever caused it, be it code that names no
 * task, garbage collection, or a process that was stopped. The time in which a beat was late because
 * of tasks that were reported is theirs already and not counted again; only the rest is `unnamed`.
 *
 * What began before a beat was due is seen from there on alone: a stall of 20 ms is seen for certain
 * under load, and as 10 ms at least. An idle process is not woken up for that.
 */
import type { Logger } from "../base/log.ts";
import type { Family, Histogram, MetricsRegistry } from "../base/metrics.ts";
import type { Clock, Timer } from "../runtime/port.ts";
import { loopMetrics } from "./loop_metrics.ts";

/** From one heartbeat to the next, without traffic and with it. */
const beatMs = 1000;
const busyBeatMs = 10;
/** Traffic in a second: more than heartbeats between nodes, less than any work worth the name. */
const busyBytes = 64 << 10;
/** Up to here nothing is a stall: slices of work may be this long, and timers this late. */
const stallAboveMs = 10;
/** From here on somebody should know. */
const logAboveMs = 100;
/** One line in this time, so that a loop that stalls all the time does not flood the log. */
const logEveryMs = 10_000;
/** The task of time that nobody claimed. */
const unnamed = "unnamed";

export class LoopMonitor {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #stalls: Family<Histogram>;
  readonly #traffic: () => number;
  #timer: Timer | undefined = undefined;
  /** When the next beat is due; never, while there is none. */
  #dueMs = Infinity;
  /** When traffic was looked at last, how much of it there had been, and whether that is much. */
  #lookedMs = 0;
  #lookedBytes = 0;
  #isBusy = false;
  /** How much of the time since then reported tasks took. */
  #claimedMs = 0;
  /** The longest of those tasks. */
  #claimant = unnamed;
  #claimantMs = 0;
  /** Stalls above the log's threshold that no line has told of, and the longest of them. */
  #untold = 0;
  #worst = unnamed;
  #worstMs = 0;
  #quietUntilMs = -Infinity;

  /** `traffic`: all bytes so far. */
  constructor(
    clock: Clock,
    logger: Logger,
    metrics: MetricsRegistry,
    traffic: () => number = () => 0,
  ) {
    this.#clock = clock;
    this.#logger = logger;
    this.#traffic = traffic;
    this.#stalls = metrics.declare(loopMetrics).stalls;
    // A rate of what was never there is nothing, where it should be 0.
    this.#stalls.with(unnamed);
  }

  /** Starts the heartbeat. */
  start(): void {
    if (this.#timer === undefined) this.#arm(this.#clock.monotonicMs());
  }

  /** Ends the heartbeat and tells of what the log's limit held back. May start again. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dueMs = Infinity;
    this.#quietUntilMs = -Infinity;
    this.#tell(this.#clock.monotonicMs());
  }

  /**
   * A task ran without giving the loop back, by the clock's monotonic time. Tasks are reported as
   * they end and do not contain each other. The names come from a small set.
   */
  ran(task: string, startedMs: number, endedMs: number): void {
    const tookMs = endedMs - startedMs;
    if (tookMs <= stallAboveMs) return;
    this.#stalls.with(task).observe(tookMs / 1000);
    if (endedMs > this.#dueMs) {
      this.#claimedMs += endedMs - Math.max(startedMs, this.#dueMs);
      if (tookMs > this.#claimantMs) {
        this.#claimant = task;
        this.#claimantMs = tookMs;
      }
    }
    if (tookMs > logAboveMs) this.#held(task, tookMs, endedMs);
  }

  /** The timer's work; public only for the timer. */
  beat(): void {
    const nowMs = this.#clock.monotonicMs();
    const lateMs = nowMs - this.#dueMs;
    const restMs = lateMs - this.#claimedMs;
    if (restMs > stallAboveMs) this.#stalls.with(unnamed).observe(restMs / 1000);
    if (restMs > logAboveMs) this.#held(unnamed, restMs, nowMs);
    else if (lateMs > logAboveMs && this.#claimantMs <= logAboveMs) {
      // None of them was long enough for a line, but the loop had to wait for them all.
      this.#held(this.#claimant, lateMs, nowMs);
    }
    this.#tell(nowMs);
    this.#arm(nowMs);
  }

  #arm(nowMs: number): void {
    if (nowMs - this.#lookedMs >= beatMs) {
      const bytes = this.#traffic();
      this.#isBusy = bytes - this.#lookedBytes >= busyBytes;
      this.#lookedMs = nowMs;
      this.#lookedBytes = bytes;
    }
    const leftMs = this.#isBusy ? busyBeatMs : beatMs;
    this.#dueMs = nowMs + leftMs;
    this.#claimedMs = 0;
    this.#claimant = unnamed;
    this.#claimantMs = 0;
    this.#timer = this.#clock.timer(leftMs, beatOf, this);
  }

  /** The log should know of this stall. */
  #held(task: string, stalledMs: number, nowMs: number): void {
    this.#untold++;
    if (stalledMs > this.#worstMs) {
      this.#worst = task;
      this.#worstMs = stalledMs;
    }
    this.#tell(nowMs);
  }

  /** Writes a line if there is something to tell and the last line is old enough. */
  #tell(nowMs: number): void {
    if (this.#untold === 0 || nowMs < this.#quietUntilMs) return;
    const leftOut = this.#untold - 1;
    this.#logger.warning("the event loop was held up", {
      task: this.#worst,
      stalledMs: Math.round(this.#worstMs),
      // Shorter ones since the line before.
      ...(leftOut > 0 ? { leftOut } : {}),
    });
    this.#untold = 0;
    this.#worstMs = 0;
    this.#quietUntilMs = nowMs + logEveryMs;
  }
}

function beatOf(monitor: LoopMonitor): void {
  monitor.beat();
}
