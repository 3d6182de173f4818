/**
 * What a module needs to log: five verbs and a way to name itself. How lines look and where they
 * go is decided once, in `src/log.ts`.
 */

/** From the most to the least talkative. */
export const logLevels = ["trace", "debug", "info", "warning", "error"] as const;

/** One of {@link logLevels}. */
export type LogLevel = (typeof logLevels)[number];

/**
 * Facts beside the message. Numbers carry their unit in the key (`waitMs`); `cause` is the error
 * behind the line and gets a place of its own.
 */
export type LogFields = Readonly<Record<string, unknown>>;

/** Handed to every module. A message is a fixed sentence; what varies goes into the fields. */
export interface Logger {
  trace(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warning(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Whether a line of this level goes anywhere: asked before fields that are dear to build. */
  enabled(level: LogLevel): boolean;
  /** A logger for a part: `ttrpc`, and below that `ttrpc.server`. */
  child(component: string): Logger;
}

/** One line before it is text. */
export interface LogRecord {
  /** Wall clock, milliseconds since 1970. */
  readonly timeMs: number;
  readonly level: LogLevel;
  readonly component: string;
  readonly node: string;
  readonly message: string;
  readonly fields: LogFields | undefined;
  /** The `cause` field, taken out of the fields. */
  readonly cause: unknown;
}

/** Logs nowhere. */
export const silentLogger: Logger = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warning: ignore,
  error: ignore,
  enabled: () => false,
  child: () => silentLogger,
};

function ignore(): void {
  // Nothing: that is the point of the silent logger.
}
