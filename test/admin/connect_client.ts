/** Connect's own client over any way to fetch. */
import { type Client, createClient } from "npm:@connectrpc/connect@2.2.0";
import { createFetchClient } from "npm:@connectrpc/connect@2.2.0/protocol";
import { createTransport } from "npm:@connectrpc/connect@2.2.0/protocol-connect";
import { TestService } from "../gen/covey/test/v1/test_pb.ts";

export function connectClient(
  baseUrl: string,
  useBinaryFormat: boolean,
  send: (request: Request) => Response | Promise<Response>,
): Client<typeof TestService> {
  // deno-lint-ignore require-await -- a throw must become a rejection
  const fetchFunction = async (input: Request | string | URL, init?: RequestInit) =>
    send(new Request(input, init));
  return createClient(
    TestService,
    createTransport({
      baseUrl,
      httpClient: createFetchClient(fetchFunction as typeof fetch),
      useBinaryFormat,
      interceptors: [],
      acceptCompression: [],
      sendCompression: null,
      compressMinBytes: 1024,
      readMaxBytes: 0xffffffff,
      writeMaxBytes: 0xffffffff,
    }),
  );
}
