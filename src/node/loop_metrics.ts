/** The table of the loop monitor, from which the reference is generated. */

/** How long the one thread was held, and by whom. */
export const loopMetrics = {
  stalls: {
    name: "covey_loop_stall_seconds",
    unit: "seconds",
    help:
      "How long tasks held the event loop, above 10 ms. What nobody names is unnamed, and seen when " +
      "it delays a beat, every 10 ms while there is traffic and every second while there is none; a " +
      "process that was suspended or got no processor, and a clock that jumped, look the same.",
    kind: "histogram",
    labels: ["task"],
    // Nothing is ever below the first one: without it a quantile would be sought from 0 on.
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    // A program may serve hundreds of methods; those that stall should be few.
    seriesMax: 32,
  },
} as const;
