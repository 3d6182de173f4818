/** The rules of docs/reference/ttrpc.md, watched on every frame that one node gets from another. */
import { CallKind } from "../../../src/ttrpc/core/call.ts";
import type { Status } from "../../../src/ttrpc/core/envelope.ts";
import { Flag, FrameType } from "../../../src/ttrpc/core/frame.ts";
import type { CallInside, LinkInside, MachineInside } from "./inside.ts";
import type { Observer, Watched } from "./observer.ts";

const endFlags = Flag.remoteClosed | Flag.noData;

export class WireRules {
  readonly #observer: Observer;
  readonly #watched: Watched;
  readonly #machine: MachineInside;
  /** Ids whose sender has sent its last frame. */
  readonly #ended: Set<number> = new Set();
  #lastRequestId = -1;
  /** The server said that it takes no more calls here. */
  #goneAway = false;

  constructor(observer: Observer, watched: Watched) {
    this.#observer = observer;
    this.#watched = watched;
    this.#machine = watched.link.machine;
    this.#watchMachine(this.#machine);
    this.#watchLink(watched.link);
  }

  #watchMachine(machine: MachineInside): void {
    const observer = this.#observer;
    const { link } = this.#watched;
    const { frame, oversized, deadlinePassed, limitHit, send, start, fail } = machine;
    machine.frame = (id, type, flags, bytes, from, to) => {
      const confirms = type === FrameType.pong && !machine.extended &&
        this.#watched.side === "server";
      if (!this.#watched.malformed && !confirms) this.#judge(id, type, flags, to - from);
      const call = machine.calls.get(id);
      observer.within(
        this.#watched,
        id,
        () => frame.call(machine, id, type, flags, bytes, from, to),
      );
      if (type === FrameType.reset) this.#afterReset(id, call);
      observer.parts.ledger.verdict.check(
        this.#watched.malformed || !confirms || machine.extended,
        "frames follow the reference",
        () => `${this.#watched.name}: only an offer that was answered is confirmed`,
      );
    };
    machine.oversized = (id, type, flags, length) => {
      observer.mark("oversized discarded");
      oversized.call(machine, id, type, flags, length);
    };
    machine.deadlinePassed = (call) => {
      if (this.#watched.side === "client") {
        observer.mark(call.id === 0 ? "deadline in the queue" : "deadline in flight");
      }
      deadlinePassed.call(machine, call);
    };
    machine.limitHit = (limit) => {
      const name = marksOfLimits[limit];
      if (name !== undefined) observer.mark(name);
      limitHit.call(machine, limit);
    };
    machine.send = (call, ...rest) => {
      const room = send.call(machine, call, ...rest);
      if (!room && call.flow !== undefined && call.flow.sendCredit <= 0) {
        observer.mark("credit exhausted");
      }
      return room;
    };
    machine.fail = (call, status) => {
      if (!link.isOpen && !call.over) observer.mark("call ended by loss");
      fail.call(machine, call, status);
    };
    if (start !== undefined) {
      machine.start = (call, ...rest) => {
        const owner = call.app as object;
        observer.parts.ledger.verdict.check(
          !this.#goneAway,
          "no call begins after the server's goodbye",
          this.#watched.name,
        );
        const refusal = start.call(machine, call, ...rest);
        if (starts.has(owner)) observer.mark("retry of an unsent call");
        starts.add(owner);
        if (refusal === undefined && call.id === 0) observer.mark("request waited in the queue");
        return refusal;
      };
    }
  }

  #watchLink(link: LinkInside): void {
    const observer = this.#observer;
    const { shut, shatter, drain, broken } = link;
    link.broken = (reason) => {
      observer.parts.ledger.verdict.check(
        this.#watched.malformed || reason.includes("does not read"),
        "a peer that keeps the rules is never called broken",
        () => `${this.#watched.name}: ${reason}`,
      );
      broken.call(link, reason);
    };
    link.shut = (status) => {
      this.#markEnd(status);
      shut.call(link, status);
    };
    link.shatter = (status) => {
      this.#markEnd(status);
      observer.parts.ledger.verdict.check(
        !this.#watched.calm || !stalls.some((text) => status.message.includes(text)),
        "a healthy peer is not given up",
        () => `${this.#watched.name}: ${status.message}`,
      );
      shatter.call(link, status);
    };
    if (drain !== undefined) {
      link.drain = () => {
        if (link.machine.callCount > 0) observer.mark("drain with calls in flight");
        drain.call(link);
      };
    }
  }

  #markEnd({ message }: Status): void {
    const observer = this.#observer;
    if (message.includes("no sign of life")) observer.mark("keepalive close");
    if (message.includes("does not read")) observer.mark("socket stalled close");
    if (message.includes("in the middle of a frame")) observer.mark("stopped in a frame close");
    if (message.includes("did not answer the first call")) observer.mark("hello unanswered");
    if (message.includes("idle for too long")) observer.mark("idle connection closed");
    if (message.includes("too many connections")) observer.mark("refused by the connections limit");
  }

  #afterReset(id: number, call: CallInside | undefined): void {
    this.#observer.mark("reset received");
    const { executions, verdict } = this.#observer.parts.ledger;
    if (call === undefined) return;
    for (const execution of executions) {
      if (execution.link !== this.#watched.link || execution.streamId !== id) continue;
      verdict.check(
        execution.signal.aborted,
        "a handler's signal fires when its call is reset",
        this.#watched.name,
      );
    }
  }

  #judge(id: number, type: number, flags: number, length: number): void {
    const { side, name } = this.#watched;
    const { verdict } = this.#observer.parts.ledger;
    const say = (holds: boolean, rule: string): void =>
      verdict.check(
        holds,
        "frames follow the reference",
        () => `${name}: ${rule} (type ${type}, flags ${flags}, stream ${id}, ${length} bytes)`,
      );
    say((id & 1) === 1, "stream ids are odd");
    if (type > FrameType.data) {
      say(this.#machine.extended, "only who agreed gets extension frames");
      if (type === FrameType.window) this.#observer.mark("credit granted");
      if (type === FrameType.pong) this.#observer.mark("ping answered");
      if (type === FrameType.goaway) {
        this.#observer.mark("goaway");
        this.#goneAway = true;
      }
      return;
    }
    if (type === FrameType.data) {
      say(flags === 0 || (flags === endFlags && length === 0), "Data has flags 00 or 05");
      say(!this.#ended.has(id), "no Data follows the end of its side");
    }
    if (side === "server") {
      say(type !== FrameType.response, "clients send no Response");
      if (type !== FrameType.request) {
        if (flags === endFlags) this.#ended.add(id);
        return;
      }
      say(id > this.#lastRequestId, "ids of requests increase");
      this.#lastRequestId = id;
      return;
    }
    say(type !== FrameType.request, "servers send no Request");
    this.#judgeAnswer(id, type, flags, length, say);
  }

  #judgeAnswer(
    id: number,
    type: number,
    flags: number,
    length: number,
    say: (holds: boolean, rule: string) => void,
  ): void {
    const call = this.#machine.calls.get(id);
    const ends = type === FrameType.response || flags === endFlags;
    if (type === FrameType.response && call === undefined && id !== 1) {
      this.#observer.mark("late reply dropped");
    }
    if (ends) this.#ended.add(id);
    if (type !== FrameType.response || call === undefined) return;
    const streams = (call.kind & CallKind.serverStreaming) !== 0;
    say(!streams || length > 0, "a response stream ends with Data 05, not with an OK Response");
  }
}

/** Why a connection is closed whose peer seems to be gone. */
const stalls = ["no sign of life", "does not read", "in the middle of a frame"];

/** Owners of calls that were started before, on any connection. */
const starts: WeakSet<object> = new WeakSet();

const marksOfLimits: Readonly<Record<string, Parameters<Observer["mark"]>[0]>> = {
  calls_per_connection: "refused by the calls limit",
  streams_per_connection: "refused by the streams limit",
  connection_queue: "refused by the queue limit",
  stream_queue: "stream overflow failed",
};
