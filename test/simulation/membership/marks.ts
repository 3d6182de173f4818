/** The states that a set of seeds must reach, and the faults that it must have met. */
export const marks = [
  "fault: cascade of crashes",
  "fault: crash of a group",
  "fault: data directory lost",
  "fault: deaf for a while, again and again",
  "fault: garbage",
  "fault: kill",
  "fault: link reset",
  "fault: loss one way",
  "fault: message comes again",
  "fault: one-way cut",
  "fault: partition",
  "fault: pause",
  "fault: power loss",
  "fault: slow disk",
  "cut decided by classic votes",
  "cut decided by fast votes",
  "cuts caught up",
  "garbage dropped",
  "group left in one cut",
  "join moved to another configuration",
  "joined",
  "joins in a storm",
  "kicked",
  "leaf joined",
  "leave done",
  "member restarted as the same one",
  "minority degraded",
  "node evicted",
  "node replaced at its address",
  "progress without a minority",
  "rejoined",
  "round of a second coordinator",
  "two changed into one",
  "two members",
  "unsynced record kept",
  "unsynced record lost",
] as const;

/** The last two need not happen, and are no error where they do. */
export type Mark =
  | (typeof marks)[number]
  | "quorum lost for ever"
  | "view adopted"
  | "group left in several cuts";
