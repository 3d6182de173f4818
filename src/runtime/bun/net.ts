/** The port's `Net` on Bun's native sockets. */
import type { Clock, Net } from "../port.ts";
import { inspectTls } from "../tls_material.ts";
import { dial, DialLimits } from "./dial.ts";
import { descriptorMaxFor, listen } from "./listener.ts";
import { createResolve } from "./resolve.ts";
import { bindUdp } from "./udp.ts";

/** The network as this process sees it. */
export function createNet(clock: Clock, descriptorsMax: number): Net {
  const descriptorMax = descriptorMaxFor(descriptorsMax);
  const context = { clock, limits: new DialLimits(), descriptorMax };
  return {
    listen: (options) => listen(context, options),
    connect: (options) => dial(context, options),
    bindUdp,
    resolve: createResolve(clock),
    inspectTls,
  };
}
