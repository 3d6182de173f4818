/** `covey kv txn`: a transaction on standard input, as JSON or as etcdctl takes it. */
import type { KvOperationResult } from "../../kv/client_types.ts";
import type { CliContext } from "../context.ts";
import { UsageError } from "../exit.ts";
import type { NodeFlags } from "../flags.ts";
import { parseJson } from "../json_input.ts";
import { entryObject, printEntry } from "./bytes.ts";
import { withKv } from "./client.ts";
import { readInput } from "./input.ts";
import { transactionOf } from "./txn_input.ts";
import { transactionOfText } from "./txn_text.ts";

/** Which list ran is an answer, not a failure: the exit code is 0 either way. */
export async function txn(this: CliContext, flags: NodeFlags): Promise<void> {
  const bytes = await readInput(
    this,
    "type the transaction, as JSON or in lines as --help has them; Ctrl-D ends it",
  );
  const text = new TextDecoder().decode(bytes);
  if (text.trim() === "") {
    throw new UsageError("standard input is empty; --help shows what a transaction looks like");
  }
  const transaction = /^\s*[{[]/.test(text)
    ? transactionOf(parseJson(text, "standard input"))
    : transactionOfText(text);
  await withKv(this, flags, async (kv) => {
    const { succeeded, revision, results } = await kv.transact(transaction);
    if (flags.json) {
      await this.printJson({ succeeded, revision, results: results.map(resultObject) });
      return;
    }
    await this.print(succeeded ? "SUCCESS" : "FAILURE");
    for (const result of results) await printResult(this, result);
  });
}

function resultObject(result: KvOperationResult): Record<string, unknown> {
  switch (result.kind) {
    case "put":
      return {
        put: result.previous === undefined ? {} : { previous: entryObject(result.previous) },
      };
    case "delete":
      return {
        delete: {
          deleted: result.deleted,
          ...(result.previous.length === 0
            ? {}
            : { previous: result.previous.map((entry) => entryObject(entry)) }),
        },
      };
    case "range":
      return {
        range: {
          count: result.count,
          more: result.more,
          entries: result.entries.map((entry) => entryObject(entry)),
        },
      };
    case "transaction":
      return {
        transaction: {
          succeeded: result.succeeded,
          results: result.results.map(resultObject),
        },
      };
  }
}

async function printResult(context: CliContext, result: KvOperationResult): Promise<void> {
  switch (result.kind) {
    case "put":
      await context.print("OK");
      if (result.previous !== undefined) await printEntry(context, result.previous, {});
      return;
    case "delete":
      await context.print(String(result.deleted));
      for (const entry of result.previous) await printEntry(context, entry, {});
      return;
    case "range":
      if (result.entries.length === 0) await context.print(`${result.count} keys`);
      for (const entry of result.entries) await printEntry(context, entry, {});
      return;
    case "transaction":
      await context.print(result.succeeded ? "SUCCESS" : "FAILURE");
      for (const inner of result.results) await printResult(context, inner);
  }
}
