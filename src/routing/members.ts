/**
 * What routing needs to know of the cluster, and nothing more: each part is handed in by whoever
 * composes the node.
 */
import type { DescService } from "npm:@bufbuild/protobuf@2.17.0";
import type { Clock, Random, Subscription } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";
import type { Client } from "../ttrpc/service.ts";

export interface RoutedMember {
  /** Where its mesh listener is reached; unique in a view. */
  readonly address: string;
  /** 32 hexadecimal digits; unique in a view. */
  readonly nodeId: string;
  /** For people; unique in a view. */
  readonly name: string;
}

export interface RoutedView {
  readonly members: readonly RoutedMember[];
}

/** The agreed view: the newest one, and word of each that follows. */
export interface Views {
  readonly current: RoutedView;
  /** The callback must not throw. */
  changed(callback: () => void): Subscription;
}

/** What members offer; it changes beside the view. */
export interface Offers {
  /** Full names of protobuf services. */
  servicesOf(member: RoutedMember): readonly string[];
  tagsOf(member: RoutedMember): readonly string[];
  /** Some member's services or tags are others now. */
  changed(callback: () => void): Subscription;
}

/** How far members are. Without it the nearest one is the least busy one. */
export interface Trips {
  /** Milliseconds, measured where it was, else estimated; undefined when neither is known. */
  tripMs(address: string): number | undefined;
}

export interface RouterParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly views: Views;
  readonly offers: Offers;
  readonly trips?: Trips;
  /** This node's own address, as the view has it. */
  readonly self: string;
  /** A channel of the caller's own, which it closes; `address` is a member's. */
  channel(address: string): Channel;
  /** Clients of this node's own services; without it a call to oneself goes over the network. */
  readonly local?: <S extends DescService>(service: S) => Client<S>;
}
