/**
 * covey: one executable, or one import, that makes a handful of devices act as one.
 *
 * What is named here is the public API; everything else is internal and changes without notice.
 *
 * @module
 */

// A node.
export { startNode, type StartOptions } from "./src/start.ts";
export type { Node, NodeState } from "./src/node.ts";
export type { NodeRpc, ReachOptions } from "./src/node/rpc.ts";
export type { NodeMembers } from "./src/node/node_members.ts";
export type { NodeStatus } from "./src/admin/parts.ts";
export type { AdminApp } from "./src/admin/schema.ts";
export type { MetricsRegistry } from "./src/base/metrics.ts";
export { ConfigError, type Origin, type Problem } from "./src/config/problem.ts";
export type {
  AdminConfig,
  AdminOptions,
  ClusterConfig,
  ClusterOptions,
  Config,
  ConfigOptions,
  KvConfig,
  KvOptions,
  LogConfig,
  LogOptions,
  MembershipConfig,
  MembershipOptions,
  NodeConfig,
  NodeOptions,
  RaftConfig,
  RaftOptions,
  RpcConfig,
  RpcOptions,
  TlsConfig,
  TlsOptions,
} from "./src/config/types.ts";

// The key-value store, and consensus for machines of a program's own.
export { KvClient, type KvClientOptions } from "./src/kv/client.ts";
export { channelEndpoint, type KvEndpoint } from "./src/kv/client_endpoint.ts";
export { CompactedError, leaderOf, refusalOf } from "./src/kv/client_error.ts";
export type {
  CampaignOptions,
  DeleteFields,
  DeleteOptions,
  KeyInput,
  KeySelection,
  KvCallOptions,
  KvCompare,
  KvCompareOperator,
  KvDelete,
  KvElection,
  KvEntry,
  KvEntryFields,
  KvHash,
  KvHeader,
  KvLeadership,
  KvLease,
  KvLeaseStatus,
  KvLimitsChange,
  KvLock,
  KvOperation,
  KvOperationResult,
  KvPut,
  KvRange,
  KvSnapshotEnd,
  KvSortOrder,
  KvSortTarget,
  KvStatus,
  KvTransaction,
  KvTransactionResult,
  KvWatch,
  KvWatchEvent,
  LeaseOptions,
  LockOptions,
  PutFields,
  PutOptions,
  RangeFields,
  RangeOptions,
  WatchOptions,
} from "./src/kv/client_types.ts";
export { KvMachine } from "./src/kv/core/kv_machine.ts";
export type { FollowOptions, GroupOptions, NodeRaft, RaftGroup } from "./src/raft/node_raft.ts";
export type { GroupObserver, LeaderHint, RequestOptions } from "./src/raft/group_types.ts";
export type { Machine, MachineEntry, SnapshotSink, SnapshotSource } from "./src/base/machine.ts";
export type { Observer } from "./src/raft/observer.ts";

// Who takes part in the cluster.
export { type Member, MemberRole } from "./src/membership/core/member.ts";
export type { MembersState } from "./src/membership/members_types.ts";
export type { View, ViewChange } from "./src/membership/view_feed.ts";
export type { MemberPick, RoutedClientOptions } from "./src/routing/options.ts";
export type { CacheModule } from "./src/cache/cache_module.ts";
export type { CacheGetOptions, CacheNamespace, NamespaceOptions } from "./src/cache/namespace.ts";
export type { FilledValue, Filler } from "./src/cache/fill.ts";
export { cacheReasonOf } from "./src/cache/refusal.ts";

// RPC without a node.
export {
  createRpcServer,
  openChannel,
  type StandaloneChannelOptions,
  type StandaloneServerOptions,
} from "./src/standalone.ts";
export { createClient } from "./src/ttrpc/client.ts";
export { connectTransport, type ConnectTransportOptions } from "./src/ttrpc/transport.ts";
export type { Channel, ChannelOptions, ChannelState } from "./src/ttrpc/channel.ts";
export type { BackoffOptions } from "./src/ttrpc/backoff.ts";
export type { RpcServer, RpcServerOptions, ServeOptions } from "./src/ttrpc/server.ts";
export type { ServedMethod, ServiceRegistry } from "./src/ttrpc/registry.ts";
export { type RpcLimits, rpcLimitsDefault } from "./src/ttrpc/limits.ts";
export type { RpcCounters } from "./src/ttrpc/counters.ts";
export { Metadata } from "./src/ttrpc/metadata.ts";
export type {
  CallContext,
  CallOptions,
  CallResult,
  Client,
  ClientCall,
  ClientHandler,
  ClientInterceptor,
  Handlers,
  ServerCall,
  ServerHandler,
  ServerInterceptor,
} from "./src/ttrpc/service.ts";

// The services that every node serves.
export { Node as NodeService } from "./src/gen/covey/node/v1/node_pb.ts";
export { Health } from "./src/gen/grpc/health/v1/health_pb.ts";
export {
  Election as ElectionService,
  KV as KvService,
  Lease as LeaseService,
  Lock as LockService,
  Maintenance as MaintenanceService,
  Watch as WatchService,
} from "./src/gen/covey/kv/v1/kv_pb.ts";
export { Members as MembersService } from "./src/gen/covey/membership/v1/members_pb.ts";
export { Raft as RaftService } from "./src/gen/covey/raft/v1/raft_pb.ts";

// What all of it shares.
export {
  Code,
  codeName,
  CoveyError,
  type CoveyErrorOptions,
  type ErrorDetail,
} from "./src/base/error.ts";
export { type Address, formatAddress, parseAddress } from "./src/base/address.ts";
export { anonymous, type Identity } from "./src/base/identity.ts";
export {
  type LogFields,
  type Logger,
  type LogLevel,
  logLevels,
  type LogRecord,
} from "./src/base/log.ts";
export { createLog, type Log, type LogOptions as LogSettings } from "./src/log.ts";
export {
  type Listener,
  NetError,
  type NetErrorKind,
  type Peer,
  type PeerCertificate,
  type PeerCredentials,
  type Runtime,
  type TlsOptions as TlsMaterial,
} from "./src/runtime/port.ts";
export { version } from "./src/version.ts";
