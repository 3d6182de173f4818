/** The node's certificate, its key and the authorities that it trusts, from their files. */
import { decodeText } from "../base/bytes.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Config } from "../config/types.ts";
import { DiskError, type Runtime, type TlsOptions } from "../runtime/port.ts";

/** More than any PEM file holds. */
const pemBytesMax = 1 << 20;

/** Undefined without TLS. Throws a CoveyError that names the key whose file cannot be used. */
export async function readTls(runtime: Runtime, config: Config): Promise<TlsOptions | undefined> {
  const { tls } = config;
  if (tls.mode !== "on") return undefined;
  const read = async (key: string, path: string | undefined): Promise<string> => {
    if (path === undefined) throw new CoveyError(Code.invalidArgument, `tls.${key} is not set`);
    try {
      const text = decodeText(await runtime.disk.readFile(path, pemBytesMax));
      if (text?.includes("-----BEGIN ")) return text;
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      throw new CoveyError(Code.failedPrecondition, `tls.${key}: ${error.message}`, {
        cause: error,
      });
    }
    throw new CoveyError(Code.failedPrecondition, `tls.${key}: ${path} is not a PEM file`);
  };
  return {
    certificate: await read("certificate_file", tls.certificate_file),
    key: await read("key_file", tls.key_file),
    authorities: await read("authorities_file", tls.authorities_file),
  };
}
