/** The registry as the admin endpoint wants it: the same handlers behind the same interceptors. */
import type { DescMethod, Message } from "npm:@bufbuild/protobuf@2.17.0";
import type {
  AdminCallContext,
  AdminCallResult,
  AdminService,
  AdminServices,
} from "../admin/parts.ts";
import type { Address } from "../base/address.ts";
import { Code, CoveyError } from "../base/error.ts";
import type { Identity } from "../base/identity.ts";
import { Metadata } from "../ttrpc/metadata.ts";
import type { ServiceRegistry } from "../ttrpc/registry.ts";
import type { CallContext } from "../ttrpc/service.ts";

export function adminServices(registry: ServiceRegistry): AdminServices {
  return {
    list: () => registry.services(),
    find(name): AdminService | undefined {
      const descriptor = registry.service(name);
      if (descriptor === undefined) return undefined;
      return {
        descriptor,
        call: (method, input, context) => call(registry, method, input, context),
      };
    },
  };
}

function call(
  registry: ServiceRegistry,
  method: DescMethod,
  input: Message | AsyncIterable<Message>,
  context: AdminCallContext,
): AdminCallResult {
  const served = registry.method(method.parent.typeName, method.name);
  if (served === undefined) {
    throw new CoveyError(
      Code.unimplemented,
      `${method.parent.typeName}/${method.name} is not served`,
    );
  }
  return served.handle({ context: new HttpCallContext(method, context), input });
}

/** A call over HTTP as handlers see it. */
class HttpCallContext implements CallContext {
  readonly method: DescMethod;
  readonly #context: AdminCallContext;
  readonly responseMetadata: Metadata;
  #metadata: Metadata | undefined = undefined;

  constructor(method: DescMethod, context: AdminCallContext) {
    this.method = method;
    this.#context = context;
    this.responseMetadata = new ResponseMetadata(context);
  }

  get identity(): Identity {
    return this.#context.identity;
  }

  get address(): Address {
    return this.#context.address;
  }

  get signal(): AbortSignal {
    return this.#context.signal;
  }

  get timeoutMs(): number | undefined {
    return this.#context.timeoutMs;
  }

  get metadata(): Metadata {
    if (this.#metadata === undefined) {
      this.#metadata = new Metadata();
      for (const [key, value] of this.#context.metadata) this.#metadata.append(key, value);
    }
    return this.#metadata;
  }

  get onResponseMetadata(): (metadata: Metadata) => void {
    return (metadata) => {
      for (const [key, value] of metadata) this.responseMetadata.append(key, value);
    };
  }
}

/** Passes each pair on as it is added. */
class ResponseMetadata extends Metadata {
  readonly #context: AdminCallContext;

  constructor(context: AdminCallContext) {
    super();
    this.#context = context;
  }

  override append(key: string, value: string): void {
    super.append(key, value);
    this.#context.respond(key, value);
  }
}
