/**
 * Addresses change: a lease runs out, a network is renumbered, an operator moves a port. A node says
 * where it is reached in each hello; the leader of a group sees to it that the group's log says the
 * same, because everybody else, and every restart, goes by that.
 */
import type { Logger } from "../base/log.ts";
import type { GroupOfAny } from "./group_types.ts";
import type { HelloFacts } from "./hello.ts";
import type { Peer } from "./peer.ts";

export interface AddressHost {
  readonly logger: Logger;
  readonly facts: HelloFacts;
  peer(nodeId: string): Peer | undefined;
}

export class Addresses {
  readonly #host: AddressHost;
  /** Groups that are being told something. */
  readonly #busy = new Set<GroupOfAny>();

  constructor(host: AddressHost) {
    this.#host = host;
  }

  /** Now and then: proposes what is not right in the log, one member at a time. */
  look(group: GroupOfAny): void {
    if (!group.isLeading || this.#busy.has(group)) return;
    for (const member of group.members.all) {
      const said = this.#said(member.nodeId);
      if (said === undefined || said.address === "") continue;
      if (said.address === member.address && said.name === member.name) continue;
      const { address, name } = said;
      this.#busy.add(group);
      group.command({ kind: "updateMember", member: { ...member, address, name } }).then(
        () => this.#host.logger.info("a node has moved", { node: name, address }),
        (cause: unknown) =>
          this.#host.logger.debug("a node's new address is not in the log yet", {
            node: name,
            cause,
          }),
      ).finally(() => this.#busy.delete(group));
      return;
    }
  }

  /** What the node itself says; undefined until it has. */
  #said(nodeId: string): { readonly name: string; readonly address: string } | undefined {
    if (nodeId === this.#host.facts.nodeId) return this.#host.facts;
    const peer = this.#host.peer(nodeId);
    return peer === undefined || peer.instance === 0n ? undefined : peer;
  }
}
