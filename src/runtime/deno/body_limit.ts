/** The bound on request bodies, which Deno.serve does not have. */

/** What of a request may go to the handler. */
export interface LimitedRequest {
  readonly request: Request;
  /** Resolves when the body turned out larger; absent where its length was told and is fine. */
  readonly exceeded?: Promise<void>;
}

/** Bounds a body. Undefined when the request says itself that it is too large. */
export function limitBody(request: Request, bytesMax: number): LimitedRequest | undefined {
  const length = request.headers.get("content-length");
  // The server hands over no more than that.
  if (length !== null) return Number(length) > bytesMax ? undefined : { request };
  if (request.method === "GET" || request.method === "HEAD" || request.body === null) {
    return { request };
  }
  const exceeded = Promise.withResolvers<void>();
  let bytes = 0;
  const bounded = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      bytes += chunk.length;
      if (bytes <= bytesMax) return controller.enqueue(chunk);
      exceeded.resolve();
      controller.error(new RangeError(`the request body is larger than ${bytesMax} bytes`));
    },
  });
  const body = request.body.pipeThrough(bounded);
  return { request: new Request(request, { body }), exceeded: exceeded.promise };
}
