/** Message types to try the codec on: the test protos, and any number of random ones. */
import { create, createFileRegistry, type DescMessage } from "npm:@bufbuild/protobuf@2.17.0";
import {
  Edition,
  FeatureSet_EnumType,
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  FeatureSet_RepeatedFieldEncoding,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorSetSchema,
} from "npm:@bufbuild/protobuf@2.17.0/wkt";
import { assert } from "../../src/base/assert.ts";
import type { Prng } from "../../src/base/prng.ts";
import { file_covey_test_codec_v1_edition2023 as edition2023 } from "../gen/covey/test/codec/v1/edition2023_pb.ts";
import { file_covey_test_codec_v1_proto2 as proto2 } from "../gen/covey/test/codec/v1/proto2_pb.ts";
import { file_covey_test_codec_v1_proto3 as proto3 } from "../gen/covey/test/codec/v1/proto3_pb.ts";

/** Every message of the test protos, and of those that they name in Google's. */
export const schemas: readonly DescMessage[] = reachable(
  [proto3, proto2, edition2023].flatMap((file) => file.messages),
);

function reachable(roots: readonly DescMessage[]): DescMessage[] {
  const found = new Set(roots);
  for (const message of found) {
    for (const field of message.fields) {
      if (field.message !== undefined) found.add(field.message);
    }
  }
  return [...found];
}

const numbers = [1, 2, 3, 4, 15, 16, 17, 127, 128, 254, 255, 256, 2047, 262144, 536870911];

type Type = FieldDescriptorProto_Type;

/** A file of random message types that name each other. */
export function randomSchemas(random: Prng): DescMessage[] {
  const edition = random.pick([
    Edition.EDITION_PROTO2,
    Edition.EDITION_PROTO3,
    Edition.EDITION_2023,
  ]);
  const count = random.between(1, 3);
  const messageType = Array.from({ length: count }, (_, index) => ({
    name: `M${index}`,
    oneofDecl: [{ name: "first_choice" }, { name: "second_choice" }],
    // Every oneof needs a member.
    field: [
      { ...field(random, edition, count, 5), name: "one", ...single, oneofIndex: 0 },
      { ...field(random, edition, count, 200), name: "two", ...single, oneofIndex: 1 },
      ...members(random, edition, count),
    ],
  }));
  const syntax = edition === Edition.EDITION_PROTO2
    ? { syntax: "proto2" }
    : edition === Edition.EDITION_PROTO3
    ? { syntax: "proto3" }
    : { syntax: "editions", edition };
  const enumType = [{
    name: "E",
    value: [{ name: "ZERO", number: 0 }, { name: "ONE", number: 1 }, { name: "LESS", number: -1 }],
    options: edition === Edition.EDITION_2023
      ? {
        features: {
          enumType: random.pick([FeatureSet_EnumType.OPEN, FeatureSet_EnumType.CLOSED]),
        },
      }
      : undefined,
  }];
  const name = "random.proto";
  const registry = createFileRegistry(create(FileDescriptorSetSchema, {
    file: [{ name, package: "random", ...syntax, enumType, messageType }],
  }));
  const file = registry.getFile(name);
  assert(file !== undefined, "the registry has the file that it was made of");
  return file.messages;
}

const single = { label: FieldDescriptorProto_Label.OPTIONAL, options: undefined };

function members(random: Prng, edition: Edition, messages: number) {
  const left = [...numbers];
  return Array.from({ length: random.between(0, 9) }, (_, index) => {
    const [number] = left.splice(random.below(left.length), 1);
    const made = { ...field(random, edition, messages, number), name: `field_${index}` };
    if (!random.chance(0.3)) return made;
    return { ...made, ...single, oneofIndex: random.below(2) };
  });
}

function field(random: Prng, edition: Edition, messages: number, number: number) {
  const types = Object.values(FieldDescriptorProto_Type)
    .filter((type): type is Type => typeof type === "number")
    .filter((type) => type !== FieldDescriptorProto_Type.GROUP);
  const type = random.chance(0.3) ? FieldDescriptorProto_Type.MESSAGE : random.pick(types);
  const repeated = random.chance(0.4);
  const packable = type !== FieldDescriptorProto_Type.STRING &&
    type !== FieldDescriptorProto_Type.BYTES && type !== FieldDescriptorProto_Type.MESSAGE;
  const label = repeated
    ? FieldDescriptorProto_Label.REPEATED
    : FieldDescriptorProto_Label.OPTIONAL;
  const typeName = type === FieldDescriptorProto_Type.MESSAGE
    ? `.random.M${random.below(messages)}`
    : type === FieldDescriptorProto_Type.ENUM
    ? ".random.E"
    : "";
  const options = edition === Edition.EDITION_2023
    ? { features: features(random, type, repeated, packable) }
    : repeated && packable && random.chance(0.5)
    ? { packed: random.chance(0.5) }
    : undefined;
  return { number, label, type, typeName, options };
}

function features(random: Prng, type: Type, repeated: boolean, packable: boolean) {
  const message = type === FieldDescriptorProto_Type.MESSAGE;
  return {
    fieldPresence: repeated || message ? undefined : random.pick([
      undefined,
      FeatureSet_FieldPresence.EXPLICIT,
      FeatureSet_FieldPresence.IMPLICIT,
      FeatureSet_FieldPresence.LEGACY_REQUIRED,
    ]),
    repeatedFieldEncoding: repeated && packable
      ? random.pick([
        FeatureSet_RepeatedFieldEncoding.PACKED,
        FeatureSet_RepeatedFieldEncoding.EXPANDED,
      ])
      : undefined,
    messageEncoding: message && random.chance(0.2)
      ? FeatureSet_MessageEncoding.DELIMITED
      : undefined,
  };
}
