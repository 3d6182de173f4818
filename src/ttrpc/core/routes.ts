/**
 * Finds the method that a request names without decoding the names: the bytes are hashed in place
 * (FNV-1a) and compared with those of the methods under that hash.
 */
import { encodeText } from "../../base/bytes.ts";
import type { CallKind } from "./call.ts";

export interface Route<T> {
  readonly service: string;
  readonly method: string;
  readonly kind: CallKind;
  readonly target: T;
}

interface Entry<T> {
  readonly service: Uint8Array;
  readonly method: Uint8Array;
  readonly route: Route<T>;
}

export class RouteTable<T> {
  readonly #byHash: Map<number, Entry<T>[]> = new Map();
  readonly #services: Set<string> = new Set();

  constructor(routes: readonly Route<T>[]) {
    for (const route of routes) {
      const entry = {
        service: encodeText(route.service),
        method: encodeText(route.method),
        route,
      };
      const hash = hashOf(
        entry.service,
        0,
        entry.service.length,
        entry.method,
        0,
        entry.method.length,
      );
      const chain = this.#byHash.get(hash);
      if (chain === undefined) this.#byHash.set(hash, [entry]);
      else chain.push(entry);
      this.#services.add(route.service);
    }
  }

  hasService(service: string): boolean {
    return this.#services.has(service);
  }

  find(
    buffer: Uint8Array,
    serviceStart: number,
    serviceEnd: number,
    methodStart: number,
    methodEnd: number,
  ): Route<T> | undefined {
    const chain = this.#byHash.get(
      hashOf(buffer, serviceStart, serviceEnd, buffer, methodStart, methodEnd),
    );
    if (chain === undefined) return undefined;
    for (const entry of chain) {
      if (
        equalsRange(entry.service, buffer, serviceStart, serviceEnd) &&
        equalsRange(entry.method, buffer, methodStart, methodEnd)
      ) return entry.route;
    }
    return undefined;
  }
}

function hashOf(
  service: Uint8Array,
  serviceStart: number,
  serviceEnd: number,
  method: Uint8Array,
  methodStart: number,
  methodEnd: number,
): number {
  let hash = 0x811c9dc5 | 0;
  for (let at = serviceStart; at < serviceEnd; at++) {
    hash = Math.imul(hash ^ service[at], 0x01000193);
  }
  hash = Math.imul(hash ^ 0x2f, 0x01000193);
  for (let at = methodStart; at < methodEnd; at++) {
    hash = Math.imul(hash ^ method[at], 0x01000193);
  }
  return hash;
}

function equalsRange(name: Uint8Array, buffer: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let at = 0; at < name.length; at++) if (name[at] !== buffer[start + at]) return false;
  return true;
}
