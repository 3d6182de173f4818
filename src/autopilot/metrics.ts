/** The table of autopilot, from which the reference is generated. */

export const autopilotMetrics = {
  active: {
    name: "covey_autopilot_active",
    unit: "boolean",
    help: "1 on the node whose autopilot decides: it leads the group, and autopilot is not off.",
    kind: "gauge",
  },
  evaluations: {
    name: "covey_autopilot_evaluations_total",
    unit: "evaluations",
    help: "How often this node looked whether something is to be changed.",
    kind: "counter",
  },
  changes: {
    name: "covey_autopilot_changes_total",
    unit: "changes",
    help:
      "Changes that were begun here, by how they ended: done, failed, or unknown, because this " +
      "node lost its leadership meanwhile.",
    kind: "counter",
    labels: ["kind", "outcome"],
    seriesMax: 24,
  },
  inFlight: {
    name: "covey_autopilot_in_flight",
    unit: "changes",
    help: "Changes that are under way: 0 or 1.",
    kind: "gauge",
  },
  pending: {
    name: "covey_autopilot_pending",
    unit: "changes",
    help: "1 while there is a change to be made, in a dry run, too.",
    kind: "gauge",
  },
  votersWanted: {
    name: "covey_autopilot_voters_wanted",
    unit: "replicas",
    help: "Voters that there are to be, where enough nodes can be one.",
    kind: "gauge",
  },
  voters: {
    name: "covey_autopilot_voters",
    unit: "replicas",
    help: "Voters, by whether the leader is in contact with them and their nodes are in the view " +
      "(healthy), or not (missing); 0 on nodes that do not lead.",
    kind: "gauge",
    labels: ["health"],
    seriesMax: 2,
  },
} as const;
