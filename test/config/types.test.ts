/** The committed types are the schema's types, checked by the compiler; the run is a formality. */
import { test } from "node:test";
import type * as z from "npm:zod@4.6.7";
import type { keysSchema } from "../../src/config/schema.ts";
import type { Config, ConfigOptions } from "../../src/config/types.ts";

/** Zod infers mutable properties; the written types are read-only all through. */
type Frozen<T> = T extends readonly (infer Item)[] ? readonly Frozen<Item>[]
  : T extends object ? { readonly [Key in keyof T]: Frozen<T[Key]> }
  : T;

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;

type Same<A, B> = Equal<Flat<A>, Flat<B>>;
/** Resolves aliases and intersections, which {@link Equal} would tell apart. */
type Flat<T> = T extends readonly unknown[] ? T
  : T extends object ? { [Key in keyof T]: Flat<T[Key]> }
  : T;

const outputIsSame: Same<Frozen<z.infer<typeof keysSchema>>, Config> = true;
// Options take numbers beside text wherever a value has a unit, so they accept more than files do.
const inputIsAccepted: Frozen<z.input<typeof keysSchema>> extends ConfigOptions ? true : false =
  true;
const sectionsAreSame: Equal<keyof z.input<typeof keysSchema>, keyof ConfigOptions> = true;
const keysAreSame: {
  [Section in keyof ConfigOptions]-?: Equal<
    keyof NonNullable<z.input<typeof keysSchema>[Section]>,
    keyof NonNullable<ConfigOptions[Section]>
  >;
} = {
  node: true,
  cluster: true,
  tls: true,
  rpc: true,
  raft: true,
  kv: true,
  membership: true,
  discovery: true,
  cache: true,
  autopilot: true,
  dns: true,
  admin: true,
  log: true,
};

test("the generated types are the schema's", () => {
  void [outputIsSame, inputIsAccepted, sectionsAreSame, keysAreSame];
});
