/** Where a {@link KvClient} sends its calls. */
import { formatAddress } from "../base/address.ts";
import { Election, KV, Lease, Lock, Maintenance, Watch } from "../gen/covey/kv/v1/kv_pb.ts";
import type { Channel } from "../ttrpc/channel.ts";
import { createClient } from "../ttrpc/client.ts";
import { createLocalClient, type LocalCaller } from "../ttrpc/local_client.ts";
import type { Client } from "../ttrpc/service.ts";

/** The services of one node. */
export interface KvEndpoint {
  /** As leaders are named in errors: `tcp://host:port`. Empty for the own node. */
  readonly address: string;
  readonly kv: Client<typeof KV>;
  readonly watch: Client<typeof Watch>;
  readonly lease: Client<typeof Lease>;
  readonly election: Client<typeof Election>;
  readonly lock: Client<typeof Lock>;
  readonly maintenance: Client<typeof Maintenance>;
}

/** A node at the other end of a channel, which stays its owner's to close. */
export function channelEndpoint(channel: Channel): KvEndpoint {
  return {
    address: formatAddress(channel.address),
    kv: createClient(KV, channel),
    watch: createClient(Watch, channel),
    lease: createClient(Lease, channel),
    election: createClient(Election, channel),
    lock: createClient(Lock, channel),
    maintenance: createClient(Maintenance, channel),
  };
}

/** The own node, without a network. Bytes are not copied: what a call gave or got stays as it is. */
export function localEndpoint(caller: LocalCaller): KvEndpoint {
  return {
    address: "",
    kv: createLocalClient(KV, caller),
    watch: createLocalClient(Watch, caller),
    lease: createLocalClient(Lease, caller),
    election: createLocalClient(Election, caller),
    lock: createLocalClient(Lock, caller),
    maintenance: createLocalClient(Maintenance, caller),
  };
}
