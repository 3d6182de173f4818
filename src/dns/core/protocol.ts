/** The numbers of the protocol, RFC 1035 unless another one is named. */

export const RecordType = {
  a: 1,
  ns: 2,
  cname: 5,
  soa: 6,
  hinfo: 13,
  /** RFC 3596. */
  aaaa: 28,
  /** RFC 2782. */
  srv: 33,
  /** RFC 6891: not a record, but what a message says about its sender. */
  opt: 41,
  /** From here to 254 there are questions that are no records, RFC 6895. */
  metaFirst: 128,
  any: 255,
} as const;

export const classInternet = 1;

export const ResponseCode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nonexistentDomain: 3,
  notImplemented: 4,
  refused: 5,
  /** RFC 6891; its upper bits are in the OPT record. */
  badVersion: 16,
} as const;
export type ResponseCode = (typeof ResponseCode)[keyof typeof ResponseCode];

export const headerBytes = 12;
/** What every client takes over UDP. */
export const udpBytesLeast = 512;
/** The most that is sent over UDP: larger ones are lost on the way (RFC 9715). */
export const udpBytesMost = 1232;
/** An OPT record without options. */
export const optBytes = 11;
export const nameBytesMax = 255;
export const labelBytesMax = 63;
