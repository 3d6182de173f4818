/** The recorded sessions of test/golden/ttrpc/v1; its README says what each field means. */
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import type { JsonValue } from "npm:@bufbuild/protobuf@2.17.0";
import { concatBytes } from "../../../src/base/bytes.ts";
import { type Frame, hex, parseFrames } from "./frames.ts";

export interface RecordedCall {
  readonly service: string;
  readonly method: string;
  readonly kind: "unary" | "server_streaming" | "client_streaming" | "bidi_streaming";
  readonly metadata?: Readonly<Record<string, readonly string[]>>;
  readonly timeoutMillis?: number;
  readonly halfCloseFirst?: boolean;
  readonly requests: readonly JsonValue[];
  readonly responses: readonly JsonValue[];
  readonly status?: { readonly code: number; readonly message?: string };
}

export interface RecordedFrame {
  readonly from: "client" | "server";
  readonly frame: Frame;
  readonly bytes: Uint8Array;
  /** The body differs from one recording to the next. */
  readonly varies: boolean;
}

export interface Transcript {
  readonly name: string;
  /** Who spoke: Go's implementation, or Rust's. */
  readonly by: "go" | "rust";
  /** Absent when the client's frames were written by hand. */
  readonly calls: readonly RecordedCall[] | undefined;
  readonly frames: readonly RecordedFrame[];
  readonly closedBy: "client" | "server";
}

interface TranscriptFile {
  readonly format: number;
  readonly name: string;
  readonly calls?: readonly RecordedCall[];
  readonly frames: readonly {
    readonly from: "client" | "server";
    readonly header: string;
    readonly body: string;
    readonly fill?: { readonly byte: number; readonly count: number };
    readonly varies?: string;
  }[];
  readonly closedBy: "client" | "server";
}

const folder = fileURLToPath(new URL("../../golden/ttrpc/v1/", import.meta.url).href);

/** All of them, by name. */
export function loadTranscripts(): Transcript[] {
  return fs.readdirSync(folder)
    .filter((file) => file.endsWith(".json") && file !== "frames.json")
    .sort()
    .map((file) => read(JSON.parse(fs.readFileSync(`${folder}${file}`, "utf8"))));
}

function read(file: TranscriptFile): Transcript {
  if (file.format !== 1) throw new Error(`${file.name}: format ${file.format} is not known`);
  return {
    name: file.name,
    by: file.name.startsWith("rust-") ? "rust" : "go",
    calls: file.calls,
    closedBy: file.closedBy,
    frames: file.frames.map(({ from, header, body, fill, varies }) => {
      const data = fill === undefined ? hex(body) : new Uint8Array(fill.count).fill(fill.byte);
      const bytes = concatBytes([hex(header), data]);
      // One whole frame, as its header says: a file that was damaged is noticed here.
      return { from, bytes, frame: parseFrames(bytes)[0], varies: varies !== undefined };
    }),
  };
}
