/** The bugs of RPC that the simulator must find again, each a patch of this name beside this file. */
import type { Mutation } from "../mutation.ts";

const few = 10;
const many = 60;
/** Needs a new call on a connection while its server drains. */
const most = 150;

export const rpcMutations: readonly Mutation[] = [
  { name: "reader_waits_for_writer", bug: "reading waits while there is output", seedsMax: many },
  { name: "ids_out_of_order", bug: "requests that waited get ids out of order", seedsMax: many },
  {
    name: "registered_after_dispatch",
    bug: "a call is entered after its handler ran",
    seedsMax: few,
  },
  { name: "phantom_first_message", bug: "a request without message brings one", seedsMax: few },
  { name: "ok_response_ends_stream", bug: "an OK Response ends a response stream", seedsMax: few },
  {
    name: "deadline_forgets_the_queue",
    bug: "no deadline while the request waits to be written",
    seedsMax: many,
  },
  {
    name: "deadline_forgets_the_dial",
    bug: "waiting for a connection outlives the deadline",
    seedsMax: few,
  },
  { name: "sent_call_is_retried", bug: "a call that was sent is tried again", seedsMax: few },
  { name: "sent_is_wrong", bug: "lost calls claim that they were never sent", seedsMax: few },
  { name: "late_reply_is_an_error", bug: "a late reply breaks the connection", seedsMax: few },
  { name: "inbox_bytes_kept", bug: "read messages stay in the connection's sum", seedsMax: few },
  { name: "credits_not_granted", bug: "a reader gives no credit back", seedsMax: few },
  { name: "credits_granted_twice", bug: "a reader gives more credit than it took", seedsMax: many },
  {
    name: "partial_write_starts_again",
    bug: "a partial write is written again from its start",
    seedsMax: few,
  },
  {
    name: "drain_forgets_a_flush",
    bug: "an idle connection is not closed by the drain",
    seedsMax: few,
  },
  {
    name: "end_before_last_data",
    bug: "the end of a stream overtakes its last messages",
    seedsMax: few,
  },
  {
    name: "error_before_queued_data",
    bug: "an error overtakes messages that wait",
    seedsMax: many,
  },
  { name: "goaway_ignored", bug: "a client goes on after the server's goodbye", seedsMax: most },
  { name: "ping_never_judged", bug: "a ping without answer has no consequence", seedsMax: few },
  { name: "timer_not_armed_earlier", bug: "the timer keeps a later deadline", seedsMax: few },
  {
    name: "abandoned_frame_still_sent",
    bug: "a frame of an abandoned call is still sent",
    seedsMax: many,
  },
  {
    name: "signal_silent_on_loss",
    bug: "a handler does not learn that its peer is gone",
    seedsMax: few,
  },
  {
    name: "signal_silent_at_the_end",
    bug: "a handler's signal stays silent when it finished",
    seedsMax: few,
  },
  { name: "reset_ignored", bug: "a reset does not reach the handler", seedsMax: few },
  {
    name: "server_deadline_unarmed",
    bug: "the server does not watch a call's deadline",
    seedsMax: few,
  },
  {
    name: "output_without_small_bound",
    bug: "a small queue limit does not bound the output",
    seedsMax: many,
  },
  {
    name: "data_folder_not_synced",
    bug: "the data folder's own name is not durable",
    seedsMax: few,
  },
  {
    name: "closed_channel_remembered",
    bug: "a node remembers channels that are closed",
    seedsMax: few,
  },
  {
    name: "waiter_not_released",
    bug: "a call canceled before it has a connection never ends",
    seedsMax: few,
  },
  {
    name: "pause_never_ends",
    bug: "reading goes on only when the slow stream is over",
    seedsMax: many,
  },
  { name: "stop_leaves_a_sweep", bug: "a stopped server leaves a timer behind", seedsMax: few },
];
