/**
 * What the fast codec knows of a message type: its fields in wire order, each reduced to what the
 * loops of `encode.ts` and `decode.ts` switch on. What is rare on a hot path (maps, groups, closed
 * enums, wrappers) is left to the protobuf library, and the plan says so.
 */
import { type DescField, type DescMessage, ScalarType } from "npm:@bufbuild/protobuf@2.17.0";
import { FeatureSet_FieldPresence } from "npm:@bufbuild/protobuf@2.17.0/wkt";

/** How one value is written. `library` stands for everything that is not done here. */
export const FieldType = {
  library: 0,
  bool: 1,
  int32: 2,
  uint32: 3,
  sint32: 4,
  fixed32: 5,
  sfixed32: 6,
  int64: 7,
  uint64: 8,
  sint64: 9,
  fixed64: 10,
  sfixed64: 11,
  float: 12,
  double: 13,
  string: 14,
  bytes: 15,
  message: 16,
} as const;
export type FieldType = (typeof FieldType)[keyof typeof FieldType];

/** Wire types (https://protobuf.dev/programming-guides/encoding/). */
export const WireType = { varint: 0, bits64: 1, delimited: 2, bits32: 5 } as const;

/** One field. Every instance has every property, so that the loops see one shape. */
export class FieldPlan {
  /** The property of the message object. */
  readonly name: string;
  readonly number: number;
  readonly type: FieldType;
  /** Wire type of one value. */
  readonly wire: number;
  /** Number and wire type as they are written: packed fields have the delimited one. */
  readonly tag: number;
  readonly repeated: boolean;
  readonly packed: boolean;
  readonly isMap: boolean;
  /** Set or not set is told apart from the zero value. */
  readonly explicit: boolean;
  /** Has to be set: the library says so when it is not. */
  readonly required: boolean;
  /** The property that holds the choice, for members of a oneof. */
  readonly oneof: string | undefined;
  /** The number that is not written; only an enum's can differ from 0. */
  readonly zero: number;
  readonly message: MessagePlan | undefined;

  constructor(field: DescField) {
    this.name = field.localName;
    this.number = field.number;
    this.type = typeOf(field);
    this.wire = wireOf(this.type);
    this.repeated = field.fieldKind === "list";
    this.packed = field.fieldKind === "list" && field.packed;
    this.isMap = field.fieldKind === "map";
    this.tag = ((field.number << 3) | (this.packed ? WireType.delimited : this.wire)) >>> 0;
    this.oneof = field.fieldKind === "list" || field.fieldKind === "map"
      ? undefined
      : field.oneof?.localName;
    this.explicit = field.presence !== FeatureSet_FieldPresence.IMPLICIT;
    this.required = field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED;
    this.zero = field.fieldKind === "enum" ? field.enum.values[0].number : 0;
    this.message = this.type === FieldType.message ? planOf(field.message!) : undefined;
  }
}

/** Fields above this number are looked up by the library alone. */
const numberMax = 255;

/** One message type. */
export class MessagePlan {
  readonly schema: DescMessage;
  readonly typeName: string;
  /** In the order in which they are written. */
  readonly fields: FieldPlan[] = [];
  /** By field number; holes where there is none. */
  readonly byNumber: (FieldPlan | undefined)[] = [];

  constructor(schema: DescMessage) {
    this.schema = schema;
    this.typeName = schema.typeName;
  }

  /** Apart from the constructor, because a message may contain itself. */
  fill(): void {
    const last = this.schema.fields.reduce((most, field) => Math.max(most, field.number), 0);
    for (let each = 0; each <= Math.min(last, numberMax); each++) this.byNumber.push(undefined);
    for (const field of this.schema.fields.toSorted((a, b) => a.number - b.number)) {
      const plan = new FieldPlan(field);
      this.fields.push(plan);
      if (plan.number <= numberMax) this.byNumber[plan.number] = plan;
    }
  }
}

const plans = new WeakMap<DescMessage, MessagePlan>();

/** The plan of a message type, made at its first use. */
export function planOf(schema: DescMessage): MessagePlan {
  let plan = plans.get(schema);
  if (plan === undefined) {
    plan = new MessagePlan(schema);
    plans.set(schema, plan);
    plan.fill();
  }
  return plan;
}

function typeOf(field: DescField): FieldType {
  switch (field.fieldKind) {
    case "scalar":
      return scalarType(field.scalar, field.longAsString);
    case "enum":
      return field.enum.open ? FieldType.int32 : FieldType.library;
    case "message":
      return messageType(field.message, field.delimitedEncoding);
    case "map":
      return FieldType.library;
    case "list":
      switch (field.listKind) {
        case "scalar":
          return scalarType(field.scalar, field.longAsString);
        case "enum":
          return field.enum.open ? FieldType.int32 : FieldType.library;
        case "message":
          return messageType(field.message, field.delimitedEncoding);
      }
  }
}

/** Messages that the library turns into plain values, and groups, are its own business. */
function messageType(message: DescMessage, delimited: boolean): FieldType {
  const special = /^google\.protobuf\.(\w*Value|Struct)$/.test(message.typeName);
  return special || delimited ? FieldType.library : FieldType.message;
}

const scalarTypes: Record<ScalarType, FieldType> = {
  [ScalarType.BOOL]: FieldType.bool,
  [ScalarType.INT32]: FieldType.int32,
  [ScalarType.UINT32]: FieldType.uint32,
  [ScalarType.SINT32]: FieldType.sint32,
  [ScalarType.FIXED32]: FieldType.fixed32,
  [ScalarType.SFIXED32]: FieldType.sfixed32,
  [ScalarType.INT64]: FieldType.int64,
  [ScalarType.UINT64]: FieldType.uint64,
  [ScalarType.SINT64]: FieldType.sint64,
  [ScalarType.FIXED64]: FieldType.fixed64,
  [ScalarType.SFIXED64]: FieldType.sfixed64,
  [ScalarType.FLOAT]: FieldType.float,
  [ScalarType.DOUBLE]: FieldType.double,
  [ScalarType.STRING]: FieldType.string,
  [ScalarType.BYTES]: FieldType.bytes,
};

function scalarType(scalar: ScalarType, longAsString: boolean): FieldType {
  return longAsString ? FieldType.library : scalarTypes[scalar];
}

function wireOf(type: FieldType): number {
  switch (type) {
    case FieldType.string:
    case FieldType.bytes:
    case FieldType.message:
      return WireType.delimited;
    case FieldType.fixed32:
    case FieldType.sfixed32:
    case FieldType.float:
      return WireType.bits32;
    case FieldType.fixed64:
    case FieldType.sfixed64:
    case FieldType.double:
      return WireType.bits64;
    default:
      return WireType.varint;
  }
}
