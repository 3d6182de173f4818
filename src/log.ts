/**
 * Where log lines come from: one JSON object a line, or readable text on a terminal.
 *
 * LogTape (https://logtape.org) is the other side of this file. Its sinks can be plugged in, so
 * that a program which embeds covey sends covey's lines wherever its own go, and its formatter
 * writes the text for terminals. Nothing here touches LogTape's process-wide configuration: that
 * belongs to the program, and several nodes may live in one process. A service whose standard
 * error is a file or a journal gets JSON and never loads LogTape (1.8 MB less, measured).
 */
import type { LogRecord as SinkRecord, Sink } from "npm:@logtape/logtape@2.4.2";
import {
  type LogFields,
  type Logger,
  type LogLevel,
  logLevels,
  type LogRecord,
} from "./base/log.ts";
import { logRecordToJson } from "./base/log_json.ts";
import { type Clock, type Host, NetError, type Subscription } from "./runtime/port.ts";

export interface LogOptions {
  /** Lines below this level are dropped before they cost anything. */
  readonly level: LogLevel;
  /** The node's name, in every line. */
  readonly node: string;
  /** Default `auto`: text when standard error is a terminal, else JSON. */
  readonly format?: "auto" | "json" | "text" | "none";
  /** LogTape sinks that get every line too. */
  readonly sinks?: readonly Sink[];
}

/** The logs of one node. */
export interface Log {
  readonly logger: Logger;
  /** May be set at any time; every logger follows at once. */
  level: LogLevel;
  /**
   * Calls back with every line that passes the level, while it is being written. The callback must
   * not throw and must not log.
   */
  subscribe(listener: (record: LogRecord) => void): Subscription;
}

/** Opens the log of a node. Asynchronous only because the text form is loaded when needed. */
export async function createLog(
  runtime: { readonly clock: Clock; readonly host: Host },
  options: LogOptions,
): Promise<Log> {
  const { host } = runtime;
  let format = options.format ?? "auto";
  if (format === "auto") format = host.isTerminal("stderr") ? "text" : "json";
  let write: (record: LogRecord) => void = (record) =>
    host.stderr(JSON.stringify(logRecordToJson(record)) + "\n");
  if (format === "none") write = () => {};
  if (format === "text") {
    const { createTextFormatter } = await import("./log_text.ts");
    const text = createTextFormatter({ color: wantsColor(host) });
    write = (record) => host.stderr(text(record));
  }
  return new NodeLog(runtime.clock, options, write);
}

/** https://no-color.org: any value but the empty one asks for plain text. */
function wantsColor(host: Host): boolean {
  try {
    const refused = host.environment("NO_COLOR") ?? "";
    return refused === "" && host.environment("TERM") !== "dumb" && host.isTerminal("stderr");
  } catch (error) {
    // Deno may not let us look: plain text is then the answer that cannot be wrong.
    if (error instanceof NetError && error.kind === "denied") return false;
    throw error;
  }
}

class NodeLog implements Log {
  readonly logger: Logger;
  readonly #clock: Clock;
  readonly #node: string;
  readonly #write: (record: LogRecord) => void;
  readonly #sinks: readonly Sink[];
  readonly #listeners: Set<(record: LogRecord) => void> = new Set();
  #level: LogLevel;
  #rank: number;

  constructor(clock: Clock, options: LogOptions, write: (record: LogRecord) => void) {
    this.#clock = clock;
    this.#node = options.node;
    this.#write = write;
    this.#sinks = options.sinks ?? [];
    this.#level = options.level;
    this.#rank = logLevels.indexOf(options.level);
    this.logger = new ComponentLogger(this, "");
  }

  get level(): LogLevel {
    return this.#level;
  }

  set level(level: LogLevel) {
    this.#level = level;
    this.#rank = logLevels.indexOf(level);
  }

  subscribe(listener: (record: LogRecord) => void): Subscription {
    this.#listeners.add(listener);
    return { cancel: () => void this.#listeners.delete(listener) };
  }

  passes(rank: number): boolean {
    return rank >= this.#rank;
  }

  emit(rank: number, component: string, message: string, fields: LogFields | undefined): void {
    const { cause, ...rest } = fields ?? {};
    const record: LogRecord = {
      timeMs: this.#clock.wallMs(),
      level: logLevels[rank],
      component: component === "" ? "node" : component,
      node: this.#node,
      message,
      fields: Object.keys(rest).length === 0 ? undefined : rest,
      cause,
    };
    this.#write(record);
    for (const listener of this.#listeners) listener(record);
    if (this.#sinks.length > 0) this.#feedSinks(record);
  }

  #feedSinks(record: LogRecord): void {
    const line = sinkRecord(record);
    for (const sink of this.#sinks) {
      try {
        sink(line);
      } catch (error) {
        // A sink is the program's own code; its failure must not fail whoever logged.
        this.#write({
          ...record,
          level: "error",
          component: "log",
          message: "a log sink failed",
          fields: undefined,
          cause: error,
        });
      }
    }
  }
}

/** The line as LogTape's sinks expect it, under the category `covey`. */
function sinkRecord(record: LogRecord): SinkRecord {
  const properties: Record<string, unknown> = { ...record.fields, node: record.node };
  if (record.cause !== undefined) properties.cause = record.cause;
  return {
    category: ["covey", ...record.component.split(".")],
    level: record.level,
    message: [record.message],
    rawMessage: record.message,
    timestamp: record.timeMs,
    properties,
  };
}

class ComponentLogger implements Logger {
  readonly #log: NodeLog;
  readonly #component: string;

  constructor(log: NodeLog, component: string) {
    this.#log = log;
    this.#component = component;
  }

  trace(message: string, fields?: LogFields): void {
    if (this.#log.passes(0)) this.#log.emit(0, this.#component, message, fields);
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#log.passes(1)) this.#log.emit(1, this.#component, message, fields);
  }

  info(message: string, fields?: LogFields): void {
    if (this.#log.passes(2)) this.#log.emit(2, this.#component, message, fields);
  }

  warning(message: string, fields?: LogFields): void {
    if (this.#log.passes(3)) this.#log.emit(3, this.#component, message, fields);
  }

  error(message: string, fields?: LogFields): void {
    if (this.#log.passes(4)) this.#log.emit(4, this.#component, message, fields);
  }

  enabled(level: LogLevel): boolean {
    return this.#log.passes(logLevels.indexOf(level));
  }

  child(component: string): Logger {
    const below = this.#component === "" ? component : `${this.#component}.${component}`;
    return new ComponentLogger(this.#log, below);
  }
}
