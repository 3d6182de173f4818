/** The table of the certificate watch, from which the reference is generated. */
export const certificateMetrics = {
  expiry: {
    name: "covey_tls_certificate_expiry_seconds",
    unit: "seconds",
    help: "Time until this node's own certificate ends; below 0 once it has.",
    kind: "gauge",
  },
} as const;
