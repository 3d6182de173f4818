/**
 * The message codec against the protobuf library: the same bytes, the same messages and the same
 * errors, for random values and bytes of every kind of message type. A failure names the seed and
 * the message type.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type DescMessage, isMessage } from "npm:@bufbuild/protobuf@2.17.0";
import { Prng } from "../../src/base/prng.ts";
import { planOf } from "../../src/ttrpc/codec/plan.ts";
import { PlainSchema } from "../gen/covey/test/codec/v1/proto3_pb.ts";
import { randomSchemas, schemas } from "./codec_schemas.ts";
import { CodecTwin } from "./codec_twin.ts";
import { RandomValues, sane } from "./codec_values.ts";
import { RandomWire } from "./codec_wire.ts";

/** Runs a body for many seeds, over all message types; a failure says for which. */
function seeds(count: number, body: (random: Prng, schema: DescMessage) => void): void {
  for (let seed = 1; seed <= count; seed++) {
    const schema = schemas[seed % schemas.length];
    try {
      body(new Prng(seed), schema);
    } catch (error) {
      throw new Error(`seed ${seed}, ${schema.typeName}`, { cause: error });
    }
  }
}

test("messages and init objects: the library's bytes, and back", () => {
  const twin = new CodecTwin();
  seeds(2500, (random, schema) => {
    const values = new RandomValues(random, sane);
    const bytes = twin.encode(schema, values.any(schema));
    if (bytes !== undefined) twin.decode(schema, bytes);
  });
  twin.assertKept();
  // Else the library would be compared with itself.
  assert.ok(twin.encodedFast > 500, `only ${twin.encodedFast} were encoded without the library`);
  assert.ok(twin.decodedFast > 500, `only ${twin.decodedFast} were decoded without the library`);
});

test("values of other types, getters, spoilt messages: the library's bytes or its error", () => {
  const twin = new CodecTwin();
  const message = create(PlainSchema, { stringValue: "from a getter", int32Value: -1 });
  let nested = 0;
  seeds(4000, (random, schema) => {
    const getter = random.pick([0, 0, 0.3]);
    const onGet = () => {
      nested++;
      twin.encoder.encode(planOf(PlainSchema), message);
    };
    const strangeness = { value: random.pick([0.02, 0.1]), getter, onGet };
    const values = new RandomValues(random, strangeness);
    twin.encode(schema, values.any(schema));
  });
  twin.assertKept();
  assert.ok(nested > 500 && twin.encodedFast > 300, `${nested}, ${twin.encodedFast}`);
});

test("legal bytes in all their forms: the library's messages", () => {
  const twin = new CodecTwin();
  seeds(4000, (random, schema) => {
    const wire = new RandomWire(random, random.pick([0, 0, 0.3, 1]));
    const message = twin.decode(schema, Uint8Array.from(wire.message(schema, 3)));
    if (message !== undefined) twin.encode(schema, message);
  });
  twin.assertKept();
  assert.ok(twin.decodedFast > 500, `only ${twin.decodedFast} were decoded without the library`);
});

test("damaged bytes: the library's messages or its errors", () => {
  const twin = new CodecTwin();
  seeds(6000, (random, schema) => {
    const wire = new RandomWire(random, random.pick([0, 0.3]));
    const bytes = wire.damaged(wire.message(schema, random.below(3)));
    twin.decode(schema, Uint8Array.from(bytes));
  });
});

test("random message types: values and bytes", () => {
  const twin = new CodecTwin();
  for (let seed = 1; seed <= 150; seed++) {
    const random = new Prng(seed);
    for (const schema of randomSchemas(random)) {
      try {
        const strangeness = { ...sane, value: random.pick([0, 0, 0.05]) };
        const values = new RandomValues(random, strangeness);
        const wire = new RandomWire(random, random.pick([0, 0.5]));
        for (let times = 0; times < 4; times++) {
          const bytes = twin.encode(schema, values.any(schema)) ??
            Uint8Array.from(wire.message(schema, 2));
          const message = twin.decode(schema, bytes);
          if (message !== undefined && isMessage(message, schema)) twin.encode(schema, message);
          twin.decode(schema, Uint8Array.from(wire.damaged([...bytes])));
          twin.decode(schema, Uint8Array.from(wire.message(schema, 2)));
        }
      } catch (error) {
        throw new Error(`seed ${seed}, ${schema.typeName}`, { cause: error });
      }
    }
  }
  twin.assertKept();
  assert.ok(twin.encodedFast > 1000, `only ${twin.encodedFast} were encoded without the library`);
  assert.ok(twin.decodedFast > 400, `only ${twin.decodedFast} were decoded without the library`);
});
