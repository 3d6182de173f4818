/** Bad values in `[cluster]`, `[raft]` and `[kv]`, and keys that do not fit each other. */
import type { BadConfig } from "./bad_configs.ts";

const three = '["tcp://10.0.0.1:7946", "tcp://10.0.0.2:7946"]';

export const badClusterConfigs: readonly BadConfig[] = [
  {
    name: "cluster: values that are none",
    text: '[cluster]\njoin = "tcp://127.0.0.1:1"\nexpect = 16\n',
    lines: [
      'covey.toml:2:8: cluster.join: found "tcp://127.0.0.1:1"; allowed: a list of up to 15 addresses, each once, such as ["tcp://127.0.0.1:1"]',
      "covey.toml:3:10: cluster.expect: found 16; allowed: a whole number from 0 to 15",
    ],
  },
  {
    name: "cluster: addresses that nobody can dial",
    text: '[cluster]\njoin = ["tcp://127.0.0.1:0", "127.0.0.1:1", "tcp://h:1"]\n',
    lines: [
      "covey.toml:2:9: cluster.join[0]: found port 0, which nobody can dial; allowed: the real port",
      'covey.toml:2:30: cluster.join[1]: address "127.0.0.1:1": unknown or missing scheme; allowed: tcp://host:port, unix:/path, unix://@abstract, vsock://cid:port',
    ],
  },
  {
    name: "cluster: an address twice",
    text: '[cluster]\njoin = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:1"]\n',
    lines: [
      'covey.toml:2:30: cluster.join[1]: found "tcp://127.0.0.1:1" a second time; allowed: each once',
    ],
  },
  {
    name: "cluster: several founders without addresses",
    text: "[cluster]\nexpect = 3\n",
    lines: [
      "covey.toml:2:10: cluster.expect: found 3 while cluster.join is empty, so that nobody would be found; allowed: the addresses of the others in cluster.join, or 0 for a cluster of this node alone",
    ],
  },
  {
    name: "cluster: one founder with addresses",
    text: '[cluster]\njoin = ["unix:/a"]\nexpect = 1\n',
    lines: [
      "covey.toml:3:10: cluster.expect: found 1 while cluster.join names other nodes; allowed: 0 for exactly those nodes, their number, or an empty cluster.join for a cluster of this node alone",
    ],
  },
  {
    name: "cluster: without a word about TLS",
    text: '[cluster]\njoin = ["tcp://127.0.0.1:1", "unix:/run/a.sock", "tcp://10.0.0.1:7946"]\n',
    lines: ["127.0.0.1:1", "10.0.0.1:7946"].map((place, index) =>
      `covey.toml:2:${index === 0 ? 9 : 50}: cluster.join[${2 * index}]: found "tcp://${place}", ` +
      'which would not let this node in without TLS; allowed: tls.mode = "on" with its three ' +
      'files, or tls.mode = "off" written out for plaintext'
    ),
  },
  {
    name: "cluster: a wildcard names no node",
    text: '[cluster]\njoin = ["tcp://0.0.0.0:7946"]\n[tls]\nmode = "off"\n',
    lines: [
      'covey.toml:2:9: cluster.join[0]: found "tcp://0.0.0.0:7946", which stands for every address of one machine; allowed: one that this node can dial',
    ],
  },
  {
    name: "cluster: the others could not dial back",
    text: `[node]\nlisten = ["tcp://[::]:7946"]\n[tls]\nmode = "off"\n[cluster]\njoin = ${three}\n`,
    lines: [
      'covey.toml:2:11: node.listen[0]: found "tcp://[::]:7946", which the other nodes of cluster.join cannot dial; allowed: with node.advertise, the address under which they reach this one',
    ],
  },
  {
    name: "cluster: a wildcard is advertised",
    text: '[node]\nadvertise = "tcp://0.0.0.0:7946"\n',
    lines: [
      'covey.toml:2:13: node.advertise: found "tcp://0.0.0.0:7946", which nobody else can dial; allowed: the address under which other nodes reach this one',
    ],
  },
  {
    name: "cluster: --dev is a node of its own",
    text: '[cluster]\njoin = ["tcp://127.0.0.1:1"]\nexpect = 2\n',
    dev: true,
    lines: [
      "covey.toml:2:8: cluster.join: found addresses with --dev, which keeps a single node in memory; allowed: an empty list, or a start without --dev",
    ],
  },
  {
    name: "cluster: sockets that this runtime has not",
    text: '[cluster]\njoin = ["vsock://3:1"]\n[tls]\nmode = "off"\n',
    lines: [
      'covey.toml:2:9: cluster.join[0]: found "vsock://3:1", but sim 0 has no vsock sockets; allowed here: tcp://host:port, unix:/path',
    ],
  },
  {
    name: "raft: values out of range",
    text: [
      "[raft]",
      'enabled = "true"',
      'heartbeat_interval = "1ms"',
      "election_timeout = 500",
      'disk_stall_timeout = "0s"',
      'segment_bytes = "128KiB"',
      'low_water_bytes = "1KiB"',
      'append_bytes_max = "8MiB"',
      "inflight_messages_max = 0",
      "proposals_max = 1.5",
      'request_timeout = "never"',
      "lease_reads = 1",
      "",
    ].join("\n"),
    lines: [
      'covey.toml:2:11: raft.enabled: found "true", which is text; allowed: true or false',
      'covey.toml:3:22: raft.heartbeat_interval: found "1ms", which is out of range; allowed: a duration with its unit from "10ms" to "10s", such as "100ms"',
      'covey.toml:4:20: raft.election_timeout: found 500; allowed: a duration with its unit from "50ms" to "5m", such as "500ms"',
      'covey.toml:5:22: raft.disk_stall_timeout: found "0s", which is out of range; allowed: a duration with its unit from "100ms" to "1h", such as "3s"',
      'covey.toml:6:17: raft.segment_bytes: found "128KiB", which is out of range; allowed: a size with its unit from "256KiB" to "64MiB", such as "4MiB"',
      'covey.toml:7:19: raft.low_water_bytes: found "1KiB", which is out of range; allowed: a size with its unit from "1MiB" to "1024GiB", or "0B" for no such mark, such as "64MiB"',
      'covey.toml:8:20: raft.append_bytes_max: found "8MiB", which is out of range; allowed: a size with its unit from "64KiB" to "4MiB", such as "64KiB"',
      "covey.toml:9:25: raft.inflight_messages_max: found 0; allowed: a whole number from 1 to 65536",
      "covey.toml:10:17: raft.proposals_max: found the number 1.5; allowed: a whole number from 1 to 10000000",
      'covey.toml:11:19: raft.request_timeout: found "never", which is not a duration; allowed: a duration with its unit from "10ms" to "1h", such as "7s"',
      "covey.toml:12:15: raft.lease_reads: found 1; allowed: true or false",
    ],
  },
  {
    name: "raft: an election before three heartbeats",
    text: '[raft]\nheartbeat_interval = "200ms"\nelection_timeout = "599ms"\n',
    lines: [
      'covey.toml:3:20: raft.election_timeout: found "599ms", which is less than three times raft.heartbeat_interval; allowed: "600ms" or more',
    ],
  },
  {
    name: "raft: heartbeats too far apart for the default",
    text: '[raft]\nheartbeat_interval = "200ms"\n',
    lines: [
      'covey.toml:2:22: raft.heartbeat_interval: found "200ms", which is more than a third of raft.election_timeout; allowed: up to "166ms", or a longer raft.election_timeout',
    ],
  },
  {
    name: "raft: appends that do not fit what may be under way",
    text: '[raft]\nappend_bytes_max = "256KiB"\ninflight_bytes_max = "128KiB"\n',
    lines: [
      'covey.toml:3:22: raft.inflight_bytes_max: found "128KiB", which is less than raft.append_bytes_max; allowed: "256KiB" or more',
    ],
  },
  {
    name: "raft: messages that are too small for nodes",
    text: '[rpc]\nmessage_bytes_max = "128KiB"\n[kv]\nenabled = false\n',
    lines: [
      'covey.toml:2:21: rpc.message_bytes_max: found "128KiB", which is too little for what nodes with consensus send each other; allowed: "256KiB" or more, or raft.enabled = false',
    ],
  },
  {
    name: "raft: appends that do not fit into a message",
    text: '[rpc]\nmessage_bytes_max = "1MiB"\n[raft]\nappend_bytes_max = "1MiB"\n',
    lines: [
      'covey.toml:4:20: raft.append_bytes_max: found "1MiB", which does not fit into a message of rpc.message_bytes_max with 64KiB around it; allowed: up to "960KiB", or a larger rpc.message_bytes_max',
    ],
  },
  {
    name: "kv: values out of range",
    text: [
      "[kv]",
      'quota_bytes = "1KiB"',
      'request_bytes_max = "8MiB"',
      "compaction_revisions = -1",
      'compaction_bytes = "1KiB"',
      'watches_max = "all"',
      'watch_queue_bytes_max = "1"',
      'progress_interval = "0s"',
      "",
    ].join("\n"),
    lines: [
      'covey.toml:2:15: kv.quota_bytes: found "1KiB", which is out of range; allowed: a size with its unit from "1MiB" to "64GiB", such as "512MiB"',
      'covey.toml:3:21: kv.request_bytes_max: found "8MiB", which is out of range; allowed: a size with its unit from "1KiB" to "7MiB", such as "1536KiB"',
      "covey.toml:4:24: kv.compaction_revisions: found -1; allowed: a whole number from 0 to 1000000000",
      'covey.toml:5:20: kv.compaction_bytes: found "1KiB", which is out of range; allowed: a size with its unit from "64KiB" to "64GiB", or "0B" for never, such as "16MiB"',
      'covey.toml:6:15: kv.watches_max: found "all", which is text; allowed: a whole number from 1 to 10000000',
      'covey.toml:7:25: kv.watch_queue_bytes_max: found "1", which has no unit (B, KiB, MiB, GiB, KB, MB, GB); allowed: a size with its unit from "16KiB" to "1GiB", such as "1MiB"',
      'covey.toml:8:21: kv.progress_interval: found "0s", which is out of range; allowed: a duration with its unit from "100ms" to "1d", such as "10m"',
    ],
  },
  {
    name: "kv: without raft",
    text: "[raft]\nenabled = false\n",
    lines: [
      "covey.toml:2:11: raft.enabled: found false, but the key-value store needs it; allowed: true, or false with kv.enabled = false",
    ],
  },
  {
    name: "kv: commands that no message holds",
    text: '[rpc]\nmessage_bytes_max = "1MiB"\n[kv]\nrequest_bytes_max = "1MiB"\n',
    lines: [
      'covey.toml:4:21: kv.request_bytes_max: found "1MiB", which does not fit rpc.message_bytes_max and raft.uncommitted_bytes_max; allowed: up to "1020KiB"',
    ],
  },
];
