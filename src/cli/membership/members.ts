/** `covey members`: who takes part, once or as it changes. */
import { Members, type WatchResponse } from "../../gen/covey/membership/v1/members_pb.ts";
import { Code, CoveyError } from "../../base/error.ts";
import { memberReport, type MembershipReport, membershipReport } from "../../report/membership.ts";
import type { CliContext } from "../context.ts";
import { ExitCode } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { Interrupt } from "../interrupt.ts";
import { askNode } from "../node_link.ts";
import { OutputWatch } from "../output_watch.ts";
import { formatTable } from "../table.ts";

/** The flags of `covey members`. */
export interface MembersFlags extends NodeFlags {
  readonly watch?: boolean;
}

/** Exit code 4 when the node is no member, so that a script can wait until it is one. */
export async function members(this: CliContext, flags: MembersFlags): Promise<void> {
  if (flags.watch === true) return await watch(this, flags);
  await askNode(this, flags, async (node) => {
    const answer = await node.client(Members).list({}, { timeoutMs: node.timeoutMs });
    const report = membershipReport(answer);
    if (flags.json) await this.printJson(report);
    else await this.print(tableOf(report));
    if (!flags.json && report.epoch > 0) this.note(viewLine(report.epoch, report.members.length));
    if (report.problem !== undefined) this.note(`${answer.name}: ${report.problem}`);
    if (report.state !== "member") this.exitWith(ExitCode.unreachable);
  });
}

function tableOf({ members: all }: MembershipReport): string {
  const rows = all.map(({ name, address, role, nodeId }) => [name, role, address, nodeId]);
  return formatTable([["NAME", "ROLE", "ADDRESS", "NODE"], ...rows]);
}

/** A line for the present view, then one for each that follows, until Ctrl-C. */
async function watch(context: CliContext, flags: MembersFlags): Promise<void> {
  using interrupt = new Interrupt(context.runtime.host);
  using output = new OutputWatch(context.runtime.host);
  const signal = AbortSignal.any([interrupt.signal, output.signal]);
  await askNode(context, flags, async (node) => {
    try {
      for await (const change of node.client(Members).watch({}, { signal })) {
        await print(context, flags, change);
      }
      if (!signal.aborted) throw new CoveyError(Code.unavailable, "the node has stopped");
    } catch (error) {
      output.signal.throwIfAborted();
      if (interrupt.signal.aborted && CoveyError.from(error).code === Code.canceled) return;
      throw error;
    }
  });
}

async function print(
  context: CliContext,
  { json }: MembersFlags,
  { view, joined, left, changed, skipped }: WatchResponse,
): Promise<void> {
  if (json) {
    await context.printJson({
      epoch: Number(view?.epoch ?? 0),
      members: view?.members.length ?? 0,
      joined: joined.map(memberReport),
      left: left.map(memberReport),
      changed: changed.map(memberReport),
      skipped,
    });
    return;
  }
  const changes = [
    ...joined.map(({ name }) => `+${name}`),
    ...left.map(({ name }) => `-${name}`),
    ...changed.map(({ name }) => `~${name}`),
    ...(skipped === 0 ? [] : [`(${skipped} views skipped)`]),
  ];
  const line = viewLine(Number(view?.epoch ?? 0), view?.members.length ?? 0);
  await context.print(`${line}: ${changes.join(" ")}`);
}

function viewLine(epoch: number, count: number): string {
  return `view ${epoch}, ${count} ${count === 1 ? "member" : "members"}`;
}
