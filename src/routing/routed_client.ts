/**
 * Clients of services that members offer: each call goes to the member that the policy picks. Their
 * type is the one that `createClient` gives, so whatever takes a client takes one of these, and one
 * is a valid set of handlers for the same service.
 */
import type { DescMethod, DescService, Message } from "npm:@bufbuild/protobuf@2.17.0";
import type {
  CallOptions,
  Client,
  ClientCall,
  ClientHandler,
  ClientInterceptor,
} from "../ttrpc/service.ts";
import type { RoutedClientOptions } from "./options.ts";
import { Route } from "./route.ts";
import { RoutedCall } from "./routed_call.ts";
import { RoutedStream } from "./routed_stream.ts";
import type { Router } from "./router.ts";

const noOptions: CallOptions = {};

/**
 * Makes a client of a service, whoever offers it. A call that was certainly not sent goes on to
 * another member, within its one deadline, and its request must not change until it ends.
 *
 * Throws `invalid_argument` for a policy or a time that is none. Calls fail with `unavailable`, not
 * sent, when nobody offers the service, and when a member left and did not answer in time.
 */
export function createRoutedClient<S extends DescService>(
  service: S,
  router: Router,
  options: RoutedClientOptions = {},
): Client<S> {
  const route = new Route(service, router, options);
  const client: Record<string, unknown> = {};
  for (const method of service.methods) {
    const handle = intercepted(handlerOf(route, method), options.interceptors ?? []);
    client[method.localName] = (input: ClientCall["input"], callOptions: CallOptions = noOptions) =>
      handle({ method, input, options: callOptions });
  }
  return client as Client<S>;
}

function handlerOf(route: Route, { methodKind }: DescMethod): ClientHandler {
  return methodKind === "unary" || methodKind === "client_streaming"
    ? (call) => single(route, call)
    : (call) => new RoutedStream(new RoutedCall(route, call));
}

async function single(route: Route, call: ClientCall): Promise<Message> {
  const routed = new RoutedCall(route, call);
  for (;;) {
    const next = routed.next();
    const peer = next instanceof Promise ? await next : next;
    try {
      return await (routed.start(peer) as Promise<Message>);
    } catch (error) {
      routed.failed(peer, error);
    } finally {
      peer.end();
    }
  }
}

function intercepted(
  handler: ClientHandler,
  interceptors: readonly ClientInterceptor[],
): ClientHandler {
  let handle = handler;
  for (let at = interceptors.length - 1; at >= 0; at--) {
    const interceptor = interceptors[at];
    const next = handle;
    handle = (call) => interceptor(call, next);
  }
  return handle;
}
