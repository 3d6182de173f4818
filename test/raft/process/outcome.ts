/** What an error of the store says about whether the write happened. */
import { fromBinary } from "npm:@bufbuild/protobuf@2.17.0";
import type { CoveyError } from "../../../src/base/error.ts";
import { ErrorInfoSchema } from "../../../src/gen/covey/kv/v1/kv_pb.ts";

/** Whether nothing was done and nothing will be. */
export function wasNotApplied(error: CoveyError): boolean {
  if (error.sent === false) return true;
  return error.details
    .filter(({ typeUrl }) => typeUrl.endsWith(ErrorInfoSchema.typeName))
    .some(({ value }) => fromBinary(ErrorInfoSchema, value).notApplied);
}
