/** What a watch is asked to be. */
import {
  type WatchCreateRequest,
  WatchCreateRequest_FilterType as FilterType,
} from "../gen/covey/kv/v1/kv_pb.ts";

export interface WantedWatch {
  /** 0: the node chooses. */
  readonly id: number;
  readonly key: Uint8Array;
  readonly end: Uint8Array;
  /** The first revision to be told; 0 for the next one. */
  readonly start: number;
  readonly previous: boolean;
  readonly withoutPuts: boolean;
  readonly withoutDeletes: boolean;
  readonly fragment: boolean;
  readonly progress: boolean;
  /** Why there is no such watch. */
  readonly problem: string | undefined;
}

export function readCreate(request: WatchCreateRequest): WantedWatch {
  const { watchId, startRevision, filters } = request;
  return {
    id: safe(watchId) ? Number(watchId) : 0,
    key: request.key,
    end: request.rangeEnd,
    start: safe(startRevision) ? Number(startRevision) : 0,
    previous: request.prevKv,
    withoutPuts: filters.includes(FilterType.NOPUT),
    withoutDeletes: filters.includes(FilterType.NODELETE),
    fragment: request.fragment,
    progress: request.progressNotify,
    problem: problemOf(request),
  };
}

function problemOf({ watchId, startRevision, filters }: WatchCreateRequest): string | undefined {
  if (!safe(watchId)) return `watch_id is ${watchId}: it must be from 0 to 2^53 - 1`;
  if (!safe(startRevision)) {
    return `start_revision is ${startRevision}: it must be from 0 to 2^53 - 1`;
  }
  const unknown = filters.find((filter) => filter !== 0 && filter !== 1);
  return unknown === undefined ? undefined : `there is no filter ${unknown}`;
}

function safe(value: bigint): boolean {
  return value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER);
}
