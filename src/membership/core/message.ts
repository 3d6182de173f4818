/** What members say to each other about views. How it is written is the codec's business. */
import type { ConfigurationId, Cut } from "./configuration.ts";
import type { Note, Saying } from "./consensus.ts";
import type { Member } from "./member.ts";

/** Alerts about one subject. */
export interface AlertFact {
  /** Of a member. */
  readonly place: number | undefined;
  /** The incarnation of a joiner, whose record was sent before on the same link. */
  readonly joiner: bigint | undefined;
  /** A ring and the alert's number, in turn. */
  readonly rings: readonly number[];
}

export interface TallyFact {
  readonly saying: Saying;
  /** Places that are news. */
  readonly places: readonly number[];
}

/** What is known of one configuration, or what is new of it. */
export interface Gossip {
  readonly kind: "gossip";
  readonly configuration: ConfigurationId;
  /** Records of joiners that the alerts and cuts name. */
  readonly joiners: readonly Member[];
  readonly alerts: readonly AlertFact[];
  readonly notes: readonly Note[];
  readonly tallies: readonly TallyFact[];
}

/** Cuts that were decided, each following the one before. */
export interface Cuts {
  readonly kind: "cuts";
  /** To which the first one applies. */
  readonly from: ConfigurationId;
  readonly cuts: readonly Cut[];
  /** What they lead to. */
  readonly to: ConfigurationId;
}

/** What was decided in a configuration: the digest of the next one. */
export interface Decided {
  readonly kind: "decided";
  readonly configuration: ConfigurationId;
  readonly value: bigint;
}

/** A whole configuration, for whoever is too far behind. */
export interface View {
  readonly kind: "view";
  readonly configuration: ConfigurationId;
  readonly members: readonly Member[];
}

/** "I am here, and you seem to be further." */
export interface Pull {
  readonly kind: "pull";
  readonly configuration: ConfigurationId;
}

/** A member asks its observers to be let go, or an operator sends it away. */
export interface Leave {
  readonly kind: "leave";
  readonly configuration: ConfigurationId;
  readonly place: number;
}

export type Message = Gossip | Decided | Cuts | View | Pull | Leave;
