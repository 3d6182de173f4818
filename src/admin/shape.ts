/** Schemas of answers, held against the types that the handlers are checked with. */
import type * as z from "npm:zod@4.6.7";

/** The schema of one kind of answer. */
export interface NamedSchema {
  /** In the OpenAPI document. */
  readonly name: string;
  readonly schema: z.ZodType;
}

/** One whose values are of the type. */
export interface Shape<T> extends NamedSchema {
  /** Nothing at run time: tells shapes of different types apart. */
  readonly of?: (value: T) => T;
}

type DeepReadonly<T> = T extends readonly (infer Item)[] ? readonly DeepReadonly<Item>[]
  : T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
  : T;

/** Whether either can stand for the other and both have the same keys. */
type Same<A, B> = [A] extends [B]
  ? [B] extends [A] ? [keyof A] extends [keyof B] ? [keyof B] extends [keyof A] ? true : false
    : false
  : false
  : false;

/** A schema whose values are of the type, no more and no less; the compiler refuses others. */
export function shape<T>(name: string): <S extends z.ZodType>(
  schema: Same<DeepReadonly<z.output<S>>, DeepReadonly<T>> extends true ? S : never,
) => Shape<T> {
  return (schema) => ({ name, schema });
}
