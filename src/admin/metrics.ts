/** What the admin endpoint counts about itself. */
export const adminMetrics = {
  requests: {
    name: "covey_admin_requests_total",
    unit: "requests",
    help: "HTTP requests by route and answered status; calls count as /{service}/{method}.",
    kind: "counter",
    labels: ["route", "status"],
    seriesMax: 200,
  },
  refused: {
    name: "covey_admin_refused_total",
    unit: "requests",
    help: "Requests refused for where they came from: a foreign Host or Origin.",
    kind: "counter",
    labels: ["reason"],
  },
  callsActive: {
    name: "covey_admin_calls_active",
    unit: "calls",
    help: "Calls of services over HTTP that run now.",
    kind: "gauge",
  },
  eventClients: {
    name: "covey_admin_event_clients",
    unit: "clients",
    help: "Clients that follow events now, over server-sent events and WebSockets.",
    kind: "gauge",
  },
  events: {
    name: "covey_admin_events_total",
    unit: "events",
    help: "Events published while at least one client followed or had just left.",
    kind: "counter",
  },
  eventClientsDropped: {
    name: "covey_admin_event_clients_dropped_total",
    unit: "clients",
    help: "Clients dropped because they read slower than events came.",
    kind: "counter",
    labels: ["transport"],
  },
  eventsMissed: {
    name: "covey_admin_events_missed_total",
    unit: "events",
    help: "Events that dropped clients did not get.",
    kind: "counter",
  },
} as const;
