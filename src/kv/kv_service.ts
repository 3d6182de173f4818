/** covey.kv.v1.KV: reading and writing keys. */
import type { KV, RangeRequest as WireRange, TxnRequest } from "../gen/covey/kv/v1/kv_pb.ts";
import type { CallContext, Handlers } from "../ttrpc/service.ts";
import {
  answerBytes,
  deleteInit,
  type DeleteRangeResponseInit,
  type HeaderInit,
  putInit,
  type PutResponseInit,
  rangeInit,
  type RangeResponseInit,
  resultTooLarge,
  transactionInit,
  type TxnResponseInit,
} from "./response.ts";
import { failed, type KvParts, within } from "./kv_parts.ts";
import { isSerializable, toDeleteRange, toNumber, toPut, toRange } from "./request.ts";
import { namedSession, toSession, toTransaction } from "./request.ts";
import type { KvResult, RangeResult, TransactionResult } from "./core/result.ts";
import { invalid } from "./refusal.ts";
import { payloadBytesMax } from "./options.ts";
import type { RangeRequest, TransactionCommand } from "./core/command.ts";
import { readsOnly } from "./core/transaction_scan.ts";

interface Answer {
  readonly header: HeaderInit;
}

export function kvHandlers(parts: KvParts): Handlers<typeof KV> {
  const { commands, counters, headers, reads, settings } = parts;
  const bytesMax = payloadBytesMax(settings);

  /** Says so where a write happened but its answer cannot be sent. */
  const fits = <Result extends KvResult>(result: Result): Result => {
    if (answerBytes(result, bytesMax) <= bytesMax) return result;
    throw resultTooLarge(bytesMax, result.revision);
  };

  // The hottest of all: nothing is made for a put but its command, its promises and its answer.
  const putAnswer = (result: KvResult): PutResponseInit => {
    if (result.kind === "put" && result.previous === undefined) {
      return { header: headers.of(result.revision) };
    }
    const put = fits(commands.expect(result, "put"));
    return putInit(headers.of(put.revision), put);
  };
  const deleteAnswer = (result: KvResult): DeleteRangeResponseInit => {
    const deleted = fits(commands.expect(result, "deleteRange"));
    return deleteInit(headers.of(deleted.revision), deleted);
  };
  const transactionAnswer = (result: KvResult): TxnResponseInit => {
    const transaction = fits(commands.expect(result, "transaction"));
    return transactionInit(headers.of(transaction.revision), transaction);
  };
  const compactAnswer = (result: KvResult): Answer => {
    counters.compactions++;
    return { header: headers.of(commands.expect(result, "compact").revision) };
  };
  const rangeAnswer = (result: RangeResult): RangeResponseInit =>
    rangeInit(headers.of(result.revision), result);
  const readAnswer = (result: TransactionResult): TxnResponseInit =>
    transactionInit(headers.of(result.revision), result);

  const read = (range: RangeRequest): RangeResponseInit | Promise<RangeResponseInit> => {
    const result = reads.range(range);
    return result instanceof Promise ? result.then(rangeAnswer) : rangeAnswer(result);
  };

  const linearizable = (request: WireRange, context: CallContext): Promise<RangeResponseInit> => {
    const range = toRange(request);
    return parts.group.barrier(within(context)).then(() => read(range), failed);
  };

  const write = (
    command: TransactionCommand,
    request: TxnRequest,
    context: CallContext,
  ): Promise<TxnResponseInit> => {
    counters.transactions++;
    return commands.propose(command, toSession(request.session), within(context))
      .then(transactionAnswer, failed);
  };

  const readTransaction = async (
    command: TransactionCommand,
    request: TxnRequest,
    context: CallContext,
  ): Promise<TxnResponseInit> => {
    if (isSerializable(request)) parts.assertReplayed();
    else await parts.group.barrier(within(context)).catch(failed);
    const result = await reads.transaction(command);
    if (result.kind === "halfApplied") return write(command, request, context);
    counters.readTransactions++;
    return readAnswer(result);
  };

  return {
    range: (request, context) => {
      counters.ranges++;
      if (!request.serializable) return linearizable(request, context);
      counters.serializableRanges++;
      parts.assertReplayed();
      return read(toRange(request));
    },
    put: (request, context) => {
      counters.puts++;
      return commands.propose(toPut(request), toSession(request.session), within(context))
        .then(putAnswer, failed);
    },
    deleteRange: (request, context) => {
      counters.deletes++;
      return commands.propose(toDeleteRange(request), toSession(request.session), within(context))
        .then(deleteAnswer, failed);
    },
    txn: (request, context) => {
      const command = toTransaction(request);
      return readsOnly(command)
        ? readTransaction(command, request, context)
        : write(command, request, context);
    },
    compact: (request, context) => {
      const revision = toNumber(request.revision, "revision");
      if (revision === 0) throw invalid("revision is 0: name the newest one to be forgotten");
      return commands
        .propose({ kind: "compact", revision }, toSession(request.session), within(context))
        .then(compactAnswer, failed);
    },
    openSession: (request, context) => {
      const session = namedSession(request.opening);
      return commands.propose({ kind: "sessionOpen" }, session, within(context)).then((result) => {
        const opened = commands.expect(result, "sessionOpen");
        return { header: headers.of(opened.revision), id: BigInt(opened.session) };
      }, failed);
    },
    closeSession: (request, context) => {
      const session = toNumber(request.id, "id");
      const named = session === 0 ? namedSession(request.opening) : undefined;
      return commands.propose({ kind: "sessionClose", session }, named, within(context))
        .then(
          (result) => ({ header: headers.of(commands.expect(result, "done").revision) }),
          failed,
        );
    },
  };
}
