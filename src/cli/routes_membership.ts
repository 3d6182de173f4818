/** The commands about who takes part, their flags and their help. */
import { buildCommand, type Command } from "npm:@stricli/core@1.3.0";
import type { CliContext } from "./context.ts";
import { asText, type NodeFlags, nodeFlags, toggle } from "./flags.ts";
import type { MembersFlags } from "./membership/members.ts";

export function membersCommand(): Command<CliContext> {
  return buildCommand<MembersFlags, [], CliContext>({
    loader: async () => (await import("./membership/members.ts")).members,
    parameters: {
      flags: { watch: toggle("Print each view as it comes, until Ctrl-C"), ...nodeFlags },
    },
    docs: {
      brief: "List who takes part in the cluster",
      customUsage: ["[--watch] [flags]"],
      fullDescription:
        "Prints the view of the node that answers: at all members it is the same. Exit code 4\n" +
        "when that node is no member. --watch prints a line for each view: + who joined, - who\n" +
        "left, ~ who says something else of itself.",
    },
  });
}

export function leaveCommand(): Command<CliContext> {
  return buildCommand<NodeFlags, [], CliContext>({
    loader: async () => (await import("./membership/leave.ts")).leave,
    parameters: { flags: nodeFlags },
    docs: {
      brief: "Make a node leave the cluster's view",
      customUsage: ["[flags]"],
      fullDescription:
        "The node tells the others that it goes, so that nobody has to find out. Its replicas\n" +
        "are not touched: see covey raft remove.",
    },
  });
}

export function kickCommand(): Command<CliContext> {
  return buildCommand<NodeFlags, [string], CliContext>({
    loader: async () => (await import("./membership/kick.ts")).kick,
    parameters: {
      flags: nodeFlags,
      positional: {
        kind: "tuple",
        parameters: [{
          parse: asText,
          placeholder: "MEMBER",
          brief: "Its name, address or node id",
        }],
      },
    },
    docs: {
      brief: "Take another member out of the cluster's view",
      customUsage: ["MEMBER [flags]"],
      fullDescription: "A member that still runs learns of it and joins again, as a new one.",
    },
  });
}
