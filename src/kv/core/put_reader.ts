/**
 * The commonest command, read without making an object of it: positions in the entry's bytes. The
 * format is that of command_codec.ts.
 */
import { Kind, plainVersion, PutFlag, putFlagsMax, withSession } from "./command_codec.ts";
import { ByteReader, noBytes } from "./bytes.ts";
import type { PutInput } from "./store.ts";
import type { SessionHeader } from "./command.ts";

export class PutReader implements PutInput, SessionHeader {
  /** 0 for none. */
  session = 0;
  sequence = 0;
  acknowledged = 0;
  key: Uint8Array = noBytes;
  keyFrom = 0;
  keyTo = 0;
  value: Uint8Array = noBytes;
  valueFrom = 0;
  valueTo = 0;
  lease = 0;
  previous = false;
  ignoreValue = false;
  ignoreLease = false;
  readonly #reader = new ByteReader(noBytes);

  /** False when it is no put that can be read: then the general decoder says what it is. */
  read(data: Uint8Array): boolean {
    if (data.length < 2 || data[0] !== plainVersion) return false;
    if ((data[1] & ~withSession) !== Kind.put) return false;
    const reader = this.#reader.open(data, 2);
    this.session = 0;
    if (data[1] !== Kind.put) {
      this.session = reader.number();
      this.sequence = reader.number();
      this.acknowledged = reader.number();
      // Session 0 never existed; the general path refuses it.
      if (this.session === 0 || this.acknowledged >= this.sequence) return false;
    }
    const flags = reader.byte();
    const keyBytes = reader.skipBytes();
    this.key = data;
    this.keyTo = reader.position;
    this.keyFrom = this.keyTo - keyBytes;
    this.lease = (flags & PutFlag.lease) !== 0 ? reader.number() : 0;
    const valueBytes = (flags & PutFlag.value) !== 0 ? reader.skipBytes() : 0;
    this.value = data;
    this.valueTo = reader.position;
    this.valueFrom = this.valueTo - valueBytes;
    this.previous = (flags & PutFlag.previous) !== 0;
    this.ignoreValue = (flags & PutFlag.ignoreValue) !== 0;
    this.ignoreLease = (flags & PutFlag.ignoreLease) !== 0;
    return !reader.failed && reader.left === 0 && flags <= putFlagsMax;
  }

  /** Lets go of the entry's bytes. */
  shut(): void {
    this.key = noBytes;
    this.value = noBytes;
    this.#reader.open(noBytes, 0);
  }
}
