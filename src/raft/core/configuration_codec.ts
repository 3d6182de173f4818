/**
 * Configurations and their changes as bytes: in log entries and in snapshots, so for ever. The first
 * byte is the version; numbers are unsigned LEB128, at most 2^53-1. A change is
 *
 *   version (1) · transition · count · count × (type, replica) · context to the end
 *
 * and a configuration
 *
 *   version (1) · auto-leave (0 or 1) · four lists, each count · ids ascending:
 *   voters, outgoing voters, learners, learners next
 *
 * A decoder answers `undefined` to anything else; it never throws and never allocates by a length
 * that the bytes do not back.
 */
import { configurationProblem } from "./configuration.ts";
import {
  ChangeType,
  type Configuration,
  type ConfigurationChange,
  type ReplicaId,
  type SingleChange,
  Transition,
} from "./types.ts";

const version = 1;

export function encodeConfigurationChange(change: ConfigurationChange): Uint8Array {
  const bytes: number[] = [version];
  putNumber(bytes, change.transition);
  putNumber(bytes, change.changes.length);
  for (const { type, replica } of change.changes) {
    putNumber(bytes, type);
    putNumber(bytes, replica);
  }
  const out = new Uint8Array(bytes.length + change.context.length);
  out.set(bytes);
  out.set(change.context, bytes.length);
  return out;
}

export function decodeConfigurationChange(bytes: Uint8Array): ConfigurationChange | undefined {
  const reader = new Reader(bytes);
  if (reader.byte() !== version) return undefined;
  const transition = reader.number();
  const count = reader.number();
  // Each change takes two bytes or more.
  if (!isTransition(transition) || count === undefined || count > bytes.length / 2) {
    return undefined;
  }
  const changes: SingleChange[] = [];
  for (let at = 0; at < count; at++) {
    const type = reader.number();
    const replica = reader.number();
    if (!isChangeType(type) || replica === undefined || replica === 0) return undefined;
    changes.push({ type, replica });
  }
  return { transition, changes, context: reader.rest() };
}

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const bytes: number[] = [version, configuration.autoLeave ? 1 : 0];
  for (const ids of lists(configuration)) {
    putNumber(bytes, ids.length);
    for (const id of ids) putNumber(bytes, id);
  }
  return Uint8Array.from(bytes);
}

export function decodeConfiguration(bytes: Uint8Array): Configuration | undefined {
  const reader = new Reader(bytes);
  if (reader.byte() !== version) return undefined;
  const autoLeave = reader.byte();
  const voters = reader.list();
  const votersOutgoing = reader.list();
  const learners = reader.list();
  const learnersNext = reader.list();
  if (
    (autoLeave !== 0 && autoLeave !== 1) || voters === undefined || votersOutgoing === undefined ||
    learners === undefined || learnersNext === undefined || reader.rest().length > 0
  ) return undefined;
  const configuration = {
    voters,
    votersOutgoing,
    learners,
    learnersNext,
    autoLeave: autoLeave === 1,
  };
  return configurationProblem(configuration) === undefined ? configuration : undefined;
}

function lists(configuration: Configuration): readonly (readonly ReplicaId[])[] {
  const { voters, votersOutgoing, learners, learnersNext } = configuration;
  return [voters, votersOutgoing, learners, learnersNext];
}

function isTransition(value: number | undefined): value is Transition {
  return value === Transition.auto || value === Transition.jointImplicit ||
    value === Transition.jointExplicit;
}

function isChangeType(value: number | undefined): value is ChangeType {
  return value === ChangeType.addVoter || value === ChangeType.remove ||
    value === ChangeType.addLearner;
}

function putNumber(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byte(): number | undefined {
    return this.#at < this.#bytes.length ? this.#bytes[this.#at++] : undefined;
  }

  /** Undefined past the end, above 2^53-1, or when it is not the shortest form. */
  number(): number | undefined {
    let value = 0;
    let unit = 1;
    while (true) {
      const byte = this.byte();
      if (byte === undefined) return undefined;
      value += (byte & 127) * unit;
      if (!Number.isSafeInteger(value)) return undefined;
      if (byte < 128) return byte === 0 && unit > 1 ? undefined : value;
      unit *= 128;
    }
  }

  list(): ReplicaId[] | undefined {
    const count = this.number();
    if (count === undefined || count > this.#bytes.length - this.#at) return undefined;
    const ids: ReplicaId[] = [];
    for (let at = 0; at < count; at++) {
      const id = this.number();
      if (id === undefined) return undefined;
      ids.push(id);
    }
    return ids;
  }

  rest(): Uint8Array {
    const rest = this.#bytes.slice(this.#at);
    this.#at = this.#bytes.length;
    return rest;
  }
}
