/**
 * A configuration: one view of who takes part, which never changes. The next one follows from it by
 * a cut, the members that join and those that leave at the same time. Its id is its number and a
 * digest that is chained: two nodes with the same id have had the same views.
 */
import { assert } from "../../base/assert.ts";
import { encodeText } from "../../base/bytes.ts";
import { Xxh64, xxh64 } from "../../base/xxh64.ts";
import type { Bitmap } from "./bitmap.ts";
import { compareAddresses, hashMember, type Member, MemberRole } from "./member.ts";
import { type RingKeys, ringKeys, Rings } from "./rings.ts";

export interface ConfigurationId {
  /** 1 for the first, and one more for each that follows. */
  readonly epoch: number;
  /** 64 bits. */
  readonly digest: bigint;
}

/** So many of the core follow what a leaf says. */
const anchors = 3;

/** What is voted on. Both lists ascend by address. */
export interface Cut {
  readonly joined: readonly Member[];
  /** Places of members. */
  readonly left: readonly number[];
}

/** Joiners whose keys are remembered until they are members. */
const joinersMost = 4_096;

/** The keys of all members, by place, and the rings that follow from them. */
interface Made {
  readonly keys: readonly RingKeys[];
  readonly rings: Rings;
}

export class Configuration implements ConfigurationId {
  readonly epoch: number;
  readonly digest: bigint;
  /** Ascending by address; a member's place is its position here. */
  readonly members: readonly Member[];
  /** Of all members: who monitors whom. */
  readonly rings: Rings;
  /** Places of those that vote, ascending. */
  readonly core: readonly number[];
  /** Of the core alone: who passes on to whom, and who lets joiners in. Positions in {@link core}. */
  readonly coreRings: Rings;
  readonly #places: ReadonlyMap<string, number>;
  /** Of each place. */
  readonly #keys: readonly RingKeys[];
  /** By address. */
  readonly #joinerKeys = new Map<string, RingKeys>();
  /** Made when first asked for: where each name, and each node id, is. */
  #names: ReadonlyMap<string, number> | undefined = undefined;
  #nodes: ReadonlyMap<string, number> | undefined = undefined;
  /** What was worked out of records and cuts that are asked for again and again. */
  readonly #recordDigests = new WeakMap<Member, bigint>();
  readonly #cutDigests = new WeakMap<Cut, bigint>();

  private constructor(id: ConfigurationId, members: readonly Member[], made: Made) {
    this.epoch = id.epoch;
    this.digest = id.digest;
    this.members = members;
    this.rings = made.rings;
    this.#keys = made.keys;
    this.#places = new Map(members.map(({ address }, place) => [address, place]));
    this.core = [...members.keys()].filter((place) => members[place].role === MemberRole.core);
    this.coreRings = this.core.length === members.length ? this.rings : Rings.of(
      this.core.map((place) => members[place].address),
      this.core.map((place) => made.keys[place]),
      this.rings.count,
    );
  }

  static #make(id: ConfigurationId, members: readonly Member[], count: number): Configuration {
    const addresses = members.map(({ address }) => address);
    const keys = addresses.map((address) => ringKeys(address, count));
    return new Configuration(id, members, { keys, rings: Rings.of(addresses, keys, count) });
  }

  /** Of founders, who all make the same one. `seed`: 64 bits of the cluster's id. */
  static first(seed: bigint, founders: readonly Member[], rings: number): Configuration {
    const members = [...founders].sort((a, b) => compareAddresses(a.address, b.address));
    assert(members.some(({ role }) => role === MemberRole.core), "somebody decides");
    const digest = digestOf({ epoch: 0, digest: seed }, members.map(digestOfRecord), []);
    return Configuration.#make({ epoch: 1, digest }, members, rings);
  }

  /** As it was read from the disk, or came from another member: look at its {@link problem}. */
  static restored(
    id: ConfigurationId,
    members: readonly Member[],
    rings: number,
  ): Configuration {
    const sorted = [...members].sort((a, b) => compareAddresses(a.address, b.address));
    return Configuration.#make(id, sorted, rings);
  }

  /** Why these cannot be the members of a cluster; undefined when they can. */
  get problem(): string | undefined {
    if (this.core.length === 0) return "nobody is there to decide";
    for (const key of ["address", "name", "nodeId"] as const) {
      const values = new Set(this.members.map((member) => member[key]));
      if (values.size < this.size) return `two members have the same ${key}`;
    }
    return undefined;
  }

  get size(): number {
    return this.members.length;
  }

  placeOf(address: string): number | undefined {
    return this.#places.get(address);
  }

  memberAt(address: string): Member | undefined {
    const place = this.#places.get(address);
    return place === undefined ? undefined : this.members[place];
  }

  /** Whether this stay of this node is in it. */
  holds({ address, nodeId, incarnation }: Member): boolean {
    const member = this.memberAt(address);
    return member !== undefined && member.nodeId === nodeId && member.incarnation === incarnation;
  }

  /** Who observes somebody that is to join: places, by ring. */
  gatekeepersOf(address: string): number[] {
    const keys = this.#keysOf(address);
    return Array.from(
      { length: this.rings.count },
      (_, ring) => this.core[this.coreRings.gatekeeperOf(address, keys, ring)],
    );
  }

  /** Who observes this member: places, by ring. */
  observersOf(place: number): number[] {
    return Array.from(
      { length: this.rings.count },
      (_, ring) => this.rings.observerOf(place, ring),
    );
  }

  /** Whom this member observes, each once, in the order of the rings; never itself. */
  subjectsOf(place: number): number[] {
    const found = new Set<number>();
    for (let ring = 0; ring < this.rings.count; ring++) {
      found.add(this.rings.subjectOf(place, ring));
    }
    found.delete(place);
    return [...found];
  }

  /** Core members that one of the core passes on to, nearest rings first; never itself. */
  neighboursOf(place: number): number[] {
    const position = this.core.indexOf(place);
    const found = new Set<number>();
    for (let ring = 0; ring < this.coreRings.count && position >= 0; ring++) {
      found.add(this.core[this.coreRings.subjectOf(position, ring)]);
      found.add(this.core[this.coreRings.observerOf(position, ring)]);
    }
    found.delete(place);
    return [...found];
  }

  /** A few of the core that a leaf tells its alerts, and that tell it what was decided. */
  anchorsOf(address: string, without?: Bitmap): number[] {
    const weigh = (place: number): bigint =>
      xxh64(encodeText(`${address} ${this.members[place].address}`));
    return this.core.filter((place) => without?.has(place) !== true)
      .map((place) => ({ place, weight: weigh(place) }))
      .sort((a, b) => a.weight < b.weight ? -1 : 1).slice(0, anchors).map(({ place }) => place);
  }

  /** The digest of the configuration that this cut would make: it is what is voted for. */
  digestAfter(cut: Cut): bigint {
    let digest = this.#cutDigests.get(cut);
    if (digest === undefined) {
      const joined = cut.joined.map((member) => this.#recordDigest(member));
      const left = cut.left.map((place) => this.#recordDigest(this.members[place]));
      digest = digestOf(this, joined, left);
      this.#cutDigests.set(cut, digest);
    }
    return digest;
  }

  after(cut: Cut): Configuration {
    const { joined } = cut;
    const left = new Set(cut.left);
    const members: Member[] = [];
    const addresses: string[] = [];
    const keys: RingKeys[] = [];
    // Where each member goes, and where the joiners are; both lists ascend by address.
    const moves = new Int32Array(this.size);
    const places = new Int32Array(joined.length);
    let next = 0;
    const add = (member: Member, key: RingKeys): number => {
      addresses.push(member.address);
      keys.push(key);
      return members.push(member) - 1;
    };
    for (let place = 0; place <= this.size; place++) {
      const member = this.members[place];
      for (; next < joined.length; next++) {
        const joiner = joined[next];
        // Who left may be back already at the same address.
        if (member !== undefined && compareAddresses(joiner.address, member.address) > 0) break;
        places[next] = add(joiner, this.#keysOf(joiner.address));
      }
      if (member !== undefined) {
        moves[place] = left.has(place) ? -1 : add(member, this.#keys[place]);
      }
    }
    const rings = this.rings.after(addresses, keys, { moves, places });
    const id = { epoch: this.epoch + 1, digest: this.digestAfter(cut) };
    return new Configuration(id, members, { keys, rings });
  }

  /** Why this is no cut of this configuration; undefined when it is. */
  problemOf({ joined, left }: Cut): string | undefined {
    if (joined.length + left.length === 0) return "it changes nothing";
    for (let at = 0; at < left.length; at++) {
      if (this.members[left[at]] === undefined) return `there is no place ${left[at]}`;
      if (at > 0 && left[at - 1] >= left[at]) return "who leaves is not in order";
    }
    const leaving = new Set(left);
    const stays = (place: number | undefined): boolean =>
      place !== undefined && !leaving.has(place);
    const names = new Set<string>();
    const nodes = new Set<string>();
    let voters = this.core.length;
    for (const place of left) if (this.members[place].role === MemberRole.core) voters--;
    for (let at = 0; at < joined.length; at++) {
      const { address, name, nodeId, role } = joined[at];
      if (at > 0 && compareAddresses(joined[at - 1].address, address) >= 0) {
        return "who joins is not in order";
      }
      if (stays(this.placeOf(address))) return `${address} is a member`;
      if (stays(this.placeOfName(name)) || names.has(name)) return `the name ${name} is taken`;
      if (stays(this.placeOfNode(nodeId)) || nodes.has(nodeId)) return `node ${nodeId} is a member`;
      names.add(name);
      nodes.add(nodeId);
      if (role === MemberRole.core) voters++;
    }
    return voters === 0 ? "nobody would be left to decide" : undefined;
  }

  placeOfName(name: string): number | undefined {
    this.#names ??= new Map(this.members.map((member, place) => [member.name, place]));
    return this.#names.get(name);
  }

  placeOfNode(nodeId: string): number | undefined {
    this.#nodes ??= new Map(this.members.map((member, place) => [member.nodeId, place]));
    return this.#nodes.get(nodeId);
  }

  /** Of a member or a joiner. */
  #keysOf(address: string): RingKeys {
    const place = this.#places.get(address);
    if (place !== undefined) return this.#keys[place];
    let keys = this.#joinerKeys.get(address);
    if (keys === undefined) {
      // Strangers can ask under as many addresses as they like.
      if (this.#joinerKeys.size >= joinersMost) this.#joinerKeys.clear();
      keys = ringKeys(address, this.rings.count);
      this.#joinerKeys.set(address, keys);
    }
    return keys;
  }

  #recordDigest(member: Member): bigint {
    let digest = this.#recordDigests.get(member);
    if (digest === undefined) {
      digest = digestOfRecord(member);
      this.#recordDigests.set(member, digest);
    }
    return digest;
  }
}

export function isSameId(a: ConfigurationId, b: ConfigurationId): boolean {
  return a.epoch === b.epoch && a.digest === b.digest;
}

/** Of the epoch, the digest before it, and the digests of the records of those who join and leave. */
function digestOf(
  { epoch, digest }: ConfigurationId,
  joined: readonly bigint[],
  left: readonly bigint[],
): bigint {
  const bytes = new Uint8Array(24 + 8 * (joined.length + left.length));
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, digest);
  view.setBigUint64(8, BigInt(epoch + 1));
  view.setUint32(16, joined.length);
  view.setUint32(20, left.length);
  let at = 24;
  for (const record of [...joined, ...left]) {
    view.setBigUint64(at, record);
    at += 8;
  }
  return xxh64(bytes);
}

function digestOfRecord(member: Member): bigint {
  const hash = new Xxh64();
  hashMember(hash, member);
  return hash.digest();
}
