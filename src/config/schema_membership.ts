/** The keys of membership and of what stands on it: a part of schema.ts. */
import {
  choice,
  duration,
  flag,
  integer,
  optionalAddress,
  section,
  size,
  text,
  textList,
} from "./fields.ts";

/** Each judged by itself; the rules between them are in `rules.ts`. */
export const membershipSections = {
  membership: section({
    enabled: flag({
      doc: "Take part in the agreed view of the members; when false it is not even loaded.",
      default: true,
    }),
    profile: choice({
      doc: "Timers. `lan`: a probe a second, a crash is a new view in some five. `low_latency`: " +
        "seven times the probes, one second. `lossy`: for radio and long ways, some twenty seconds.",
      default: "lan",
      choices: ["lan", "low_latency", "lossy"],
    }),
    role: choice({
      doc: "`core` members decide about views, `leaf` members watch each other and follow: for " +
        "many small devices around a few that decide.",
      default: "core",
      choices: ["core", "leaf"],
    }),
    two_members: choice({
      doc: "What becomes of two members when one is gone. `stall`: nothing until it is back. " +
        "`first`: the one with the lower address goes on alone, the other one never does. The same " +
        "at every member.",
      default: "stall",
      choices: ["stall", "first"],
    }),
  }),
  discovery: section({
    seeds: textList({
      doc:
        "Names that are looked up: `dns://name:port` for A and AAAA records, `srv://name` for SRV " +
        "records; or addresses, `tcp://host:port`.",
      default: [],
      least: 0,
      most: 32,
      items: "seeds",
      itemPattern: "^(?:tcp|dns|srv)://[^\\s/]{1,300}$",
      itemAllowed: "tcp://host:port, dns://name:port or srv://name",
    }),
    dns_interval: duration({
      doc: "How often names are looked up again.",
      default: "30s",
      least: "1s",
      most: "1d",
    }),
    lan: flag({
      doc: "Find members in the local network by multicast, and be found.",
      default: false,
    }),
    lan_group: text({
      doc: "Multicast group, IPv4 or IPv6.",
      default: "239.255.77.46",
      pattern: "^[0-9A-Fa-f.:]{3,45}$",
      allowed: "a multicast address",
    }),
    lan_port: integer({
      doc: "Its UDP port, the same at all nodes.",
      default: 7946,
      least: 1,
      most: 65_535,
    }),
    lan_ttl: integer({
      doc: "Networks that a datagram may cross; 1 stays in the own one.",
      default: 1,
      least: 1,
      most: 32,
    }),
    lan_interval: duration({
      doc: "How often this node announces itself.",
      default: "10s",
      least: "1s",
      most: "1h",
    }),
    lan_interface: text({
      doc: "Address of the interface to use (`::%eth0` for IPv6); empty: the system's choice.",
      default: "",
      pattern: "^[0-9A-Za-z.:%_-]{0,64}$",
      allowed: "an address of this machine",
    }),
  }),
  cache: section({
    enabled: flag({
      doc: "Take part in the shared cache; when false it is not even loaded.",
      default: true,
    }),
    memory_bytes_max: size({
      doc: "What keys, values and their overhead may take, copies included.",
      default: "32MiB",
      least: "64KiB",
      most: "64GiB",
    }),
    value_bytes_max: size({
      doc: "A larger value is passed on and not kept.",
      default: "1MiB",
      least: "1B",
      most: "1GiB",
    }),
    fills_max: integer({
      doc: "Sources that run at the same time; further keys wait.",
      default: 64,
      least: 1,
      most: 65_536,
    }),
    fill_timeout: duration({
      doc: "How long a key may take to be filled, the wait for its turn included.",
      default: "30s",
      least: "10ms",
      most: "1h",
    }),
    owner_timeout: duration({
      doc: "An owner that says nothing for so long is asked whether it is there.",
      default: "1s",
      least: "10ms",
      most: "1m",
    }),
  }),
  autopilot: section({
    mode: choice({
      doc:
        "`on` adds, promotes and replaces the store's replicas by the agreed view, `dry_run` only " +
        "says what it would do. Of all these keys those of the node that leads count.",
      choices: ["on", "dry_run", "off"],
      default: "off",
    }),
    voters: integer({
      doc: "Voters that there are to be: an odd number. The others follow as learners.",
      default: 3,
      least: 1,
      most: 7,
    }),
    learners_max: integer({
      doc: "Members that are kept as learners; each costs the leader its heartbeats and the log.",
      default: 12,
      least: 0,
      most: 64,
    }),
    replace_after: duration({
      doc: "How long a voter is out of the view and out of the leader's contact before a learner " +
        "takes its place. A new leader begins to count anew.",
      default: "60s",
      least: "1s",
      most: "30d",
    }),
    remove_after: duration({
      doc: "The same for a learner, before it is removed for good.",
      default: "72h",
      least: "10s",
      most: "365d",
    }),
    stabilize: duration({
      doc:
        "How long a learner is in the view and in the leader's contact, without a break, before " +
        "it may become a voter.",
      default: "10s",
      least: "10s",
      most: "1h",
    }),
  }),
  dns: section({
    listen: optionalAddress({
      doc: "Where DNS is served, over UDP and TCP: tcp://host:port. Without it there is none.",
    }),
    domain: text({
      doc: "The zone: members are NAME.node.DOMAIN, services NAME.service.DOMAIN.",
      default: "covey",
      pattern: "^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$",
      allowed: "a domain name of up to 64 characters",
    }),
    ttl: duration({
      doc: "How long an answer may be kept.",
      default: "0s",
      least: "0s",
      most: "1h",
    }),
  }),
};
