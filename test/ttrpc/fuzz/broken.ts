/** Machines with one bug each, put there so that the fuzzer can show that it finds it. */
import { type ClientCall, ClientConnection } from "../../../src/ttrpc/core/client.ts";
import { type Outcome, type ServerCall, ServerConnection } from "../../../src/ttrpc/core/server.ts";

type CallOf = ServerCall<string>;

/** An exception escapes for one kind of frame. */
export class ThrowingServer extends ServerConnection<string> {
  override frame(
    id: number,
    type: number,
    flags: number,
    buffer: Uint8Array,
    start: number,
    end: number,
  ): void {
    if (type === 3 && (flags & 0x40) !== 0 && id > 4) throw new Error("too clever for that flag");
    super.frame(id, type, flags, buffer, start, end);
  }
}

/** A call that fails is told of twice when its deadline passed. */
export class DoubleServer extends ServerConnection<string> {
  protected override deadlinePassed(call: CallOf): void {
    super.deadlinePassed(call);
    call.over = false;
    this.fail(call, { code: 4, message: "again", details: [] });
  }
}

/** Messages are kept whatever the limits say. */
export class HoardingServer extends ServerConnection<string> {
  protected override deliver(call: CallOf, buffer: Uint8Array, start: number, end: number): void {
    const flow = call.flow!;
    flow.inbox.push(buffer.slice(start, end));
    flow.inboxBytes += end - start;
  }
}

/** A stream says one more thing after its end. */
export class TalkativeServer extends ServerConnection<string> {
  override finishStream(call: CallOf, metadata: readonly string[]): Outcome {
    const outcome = super.finishStream(call, metadata);
    if (call.over) this.writeFrame(call.id, 3, 0, new Uint8Array(1));
    return outcome;
  }
}

/** A call whose deadline passed just goes away. */
export class MuteServer extends ServerConnection<string> {
  protected override deadlinePassed(call: CallOf): void {
    this.fail(call, { code: 4, message: "deadline exceeded", details: [] });
  }
}

/** A request that had to wait gets a later id than the next one. */
export class DriftingClient extends ClientConnection {
  protected override beforeWrite(call: ClientCall): void {
    const isFirst = call.id === 0;
    super.beforeWrite(call);
    if (!isFirst || call.id % 64 !== 63) return;
    this.calls.delete(call.id);
    call.id += 2;
    this.calls.set(call.id, call);
  }
}
