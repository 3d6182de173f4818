/** What the tests of discovery share: a log that is kept, and discovery on machines of the sim. */
import type { LogFields, Logger, LogLevel } from "../../src/base/log.ts";
import { DiscoveryCounters } from "../../src/discovery/counters.ts";
import type { Candidate } from "../../src/discovery/discovery.ts";
import type { Clock, Net, Random, Runtime } from "../../src/runtime/port.ts";

export class KeptLog implements Logger {
  readonly lines: { level: LogLevel; message: string; fields: LogFields | undefined }[] = [];

  #keep(level: LogLevel, message: string, fields?: LogFields): void {
    this.lines.push({ level, message, fields });
  }
  trace(message: string, fields?: LogFields): void {
    this.#keep("trace", message, fields);
  }
  debug(message: string, fields?: LogFields): void {
    this.#keep("debug", message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#keep("info", message, fields);
  }
  warning(message: string, fields?: LogFields): void {
    this.#keep("warning", message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#keep("error", message, fields);
  }
  enabled(): boolean {
    return true;
  }
  child(): Logger {
    return this;
  }

  get levels(): string {
    return this.lines.map(({ level }) => level).join(" ");
  }
}

export interface Parts {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: KeptLog;
  readonly counters: DiscoveryCounters;
}

export function partsOf({ net, clock, random }: Pick<Runtime, "net" | "clock" | "random">): Parts {
  return { net, clock, random, logger: new KeptLog(), counters: new DiscoveryCounters() };
}

/** Keeps every list that it gets, as addresses. */
export class Sink {
  readonly lists: (readonly Candidate[])[] = [];
  readonly take = (candidates: readonly Candidate[]): void => void this.lists.push(candidates);

  get last(): string[] {
    return (this.lists.at(-1) ?? []).map(({ address }) => address);
  }
}
