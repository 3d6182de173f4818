/** What a failed call means to the person who typed it. */
import { type Address, formatAddress } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import { NetError } from "../runtime/port.ts";
import type { Channel } from "../ttrpc/channel.ts";

/** Bytes of a frame's header: a peer that sent fewer has said nothing. */
const headerBytes = 10;
const tlsFlags = "--certificate-file, --key-file and --authorities-file";

/** The same error in other words, where there are better ones. */
export function explainFailure(error: unknown, channel: Channel, tls: boolean): unknown {
  if (!(error instanceof CoveyError)) return error;
  const { code, sent, cause } = error;
  const where = formatAddress(channel.address);
  const say = (to: Code, message: string): CoveyError =>
    new CoveyError(to, message, { cause: error, sent });
  if (cause instanceof NetError && sent === false) {
    return notReached(cause, channel.address, say) ?? error;
  }
  if (code === Code.deadlineExceeded && sent === false) {
    return say(Code.unavailable, `cannot reach ${where}: no connection within the time given`);
  }
  if (code !== Code.unavailable) return error;
  const { connectionsBrokenTotal, receivedBytesTotal } = channel.counters;
  if (connectionsBrokenTotal > 0) {
    return say(code, `what listens on ${where} does not speak ttrpc: ${error.rawMessage}`);
  }
  if (receivedBytesTotal < headerBytes && channel.address.kind === "tcp") {
    const help = tls
      ? "it may not accept this certificate"
      : `a server that wants TLS is called with ${tlsFlags}`;
    return say(code, `${where} hung up without an answer (${error.rawMessage}); ${help}`);
  }
  return error;
}

function notReached(
  cause: NetError,
  address: Address,
  say: (code: Code, message: string) => CoveyError,
): CoveyError | undefined {
  const where = formatAddress(address);
  switch (cause.kind) {
    case "refused":
      return say(Code.unavailable, `cannot reach ${where}: nothing listens there`);
    case "not-found":
      return say(
        Code.unavailable,
        address.kind === "tcp"
          ? `cannot reach ${where}: the host name is not known`
          : `cannot reach ${where}: there is no such socket`,
      );
    case "denied":
      return say(Code.permissionDenied, `cannot reach ${where}: ${cause.message}`);
    default:
      return undefined;
  }
}
