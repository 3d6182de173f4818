/** What replicas say: it is already true on their disks, and nothing that others cannot bear. */
import { type Message, MessageType, type ReplicaId } from "../../../src/raft/core/types.ts";
import type { Verdict } from "../seeds/verdict.ts";
import type { Disks } from "./durable_log.ts";
import type { Marker } from "./marks.ts";
import type { ReplicaWatch } from "./replica_watch.ts";

export interface MessagesParts {
  readonly verdict: Verdict;
  readonly mark: Marker;
  readonly disks: Disks;
  readonly leaderOf: (term: number) => ReplicaWatch | undefined;
}

/** Of the one group of the key-value store. */
export class Messages {
  readonly #parts: MessagesParts;
  readonly #granted = new Map<string, ReplicaId>();

  constructor(parts: MessagesParts) {
    this.#parts = parts;
  }

  /** Right before a message is handed to the network. */
  sent(replica: ReplicaWatch, message: Message): void {
    const { type, reject } = message;
    if (type === MessageType.appendResponse && !reject) this.#acknowledges(replica, message);
    else if (type === MessageType.voteResponse && !reject) this.#grants(replica, message);
    else if (type === MessageType.vote) this.#campaigns(replica, message);
    else if (type === MessageType.heartbeat) this.#beats(replica, message);
    else if (type === MessageType.snapshot) this.#sendsSnapshot(replica, message);
    this.#markMessage(message);
  }

  #isDurable(holds: boolean, text: () => string): void {
    this.#parts.verdict.check(holds, "nothing is sent before its sync", text);
  }

  #acknowledges(replica: ReplicaWatch, { term, index }: Message): void {
    const { disk } = replica;
    // A later batch may have cut it off again in the same report of the disk.
    this.#isDurable(
      disk !== undefined && (disk.term > term || (disk.term === term && disk.last >= index)),
      () =>
        `${replica.name} acknowledges entry ${index} in term ${term}; on disk: ${disk?.last} ` +
        `in ${disk?.term}`,
    );
    const leader = this.#parts.leaderOf(term);
    // Later it may have taken back what it had.
    if (disk?.term !== term || leader?.seen.term !== term) return;
    const [has, means] = [disk.termAt(index), leader.memory.termAt(index)];
    this.#parts.verdict.check(
      has === undefined || means === undefined || has === means,
      "what is acknowledged is what the leader has",
      () =>
        `${replica.name} acknowledges entry ${index} of term ${has}, the leader's is of ${means}`,
    );
  }

  #grants(replica: ReplicaWatch, { to, term }: Message): void {
    const { disk } = replica;
    this.#isDurable(
      disk !== undefined && (disk.term > term || (disk.term === term && disk.vote === to)),
      () =>
        `${replica.name} votes for ${to} in term ${term}; on disk: term ${disk?.term}, ` +
        `vote ${disk?.vote}`,
    );
    const key = `${replica.id}/${term}`;
    const before = this.#granted.get(key) ?? to;
    this.#parts.verdict.check(
      before === to,
      "one vote a term",
      () => `${replica.name} votes for ${before} and ${to} in term ${term}`,
    );
    this.#granted.set(key, to);
  }

  #campaigns(replica: ReplicaWatch, { term }: Message): void {
    const { disk } = replica;
    this.#isDurable(
      disk !== undefined &&
        (disk.term > term || (disk.term === term && disk.vote === replica.id)),
      () =>
        `${replica.name} asks for votes in term ${term}; on disk: term ${disk?.term}, ` +
        `vote ${disk?.vote}`,
    );
  }

  #beats(replica: ReplicaWatch, { to, term, commit }: Message): void {
    const follower = this.#parts.disks(to);
    this.#parts.verdict.check(
      follower === undefined || term < follower.term || commit <= follower.last,
      "nobody is told to commit what it does not have",
      () => `${replica.name} tells ${to} to commit ${commit}; it has ${follower?.last}`,
    );
  }

  #sendsSnapshot(replica: ReplicaWatch, { to }: Message): void {
    const member = replica.parts.core.status().members.find(({ id }) => id === to);
    this.#parts.verdict.check(
      member?.recentActive === true,
      "a snapshot goes to whom one hears of",
      () => `${replica.name} sends ${to} a snapshot, and has not heard of it`,
    );
  }

  #markMessage({ type, reject }: Message): void {
    const { mark } = this.#parts;
    if (type === MessageType.readIndex) mark("read index forwarded");
    else if (type === MessageType.preVoteResponse && reject) mark("pre-vote refused");
    else if (type === MessageType.snapshot) mark("snapshot sent");
    else if (type === MessageType.timeoutNow) mark("transfer: target told to campaign");
  }
}
