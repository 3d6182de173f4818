/** A lab whose nodes live in network namespaces of their own; clients come by the local sockets. */
import { NamespaceNetwork } from "../../support/netns.ts";
import { type Lab, type LabOptions, withLab } from "./lab.ts";

const port = 7946;

export async function withNetworkLab<T>(
  options: LabOptions,
  body: (lab: Lab, network: NamespaceNetwork) => Promise<T>,
): Promise<T> {
  const nodes = options.nodes ?? 3;
  const network = await NamespaceNetwork.open(nodes);
  const address = (index: number): string => `tcp://${network.host(index)}:${port}`;
  const join = Array.from({ length: nodes }, (_, index) => address(index));
  try {
    return await withLab({
      ...options,
      nodes,
      wrap: (command, index) => network.wrap(command, index),
      config: (index) => ({ node: { listen: [address(index)] }, cluster: { join } }),
      reachedAt: (node) => `unix:${node.dataFolder}/covey.sock`,
      advertisedAt: (node) => address(node.index),
    }, (lab) => body(lab, network));
  } finally {
    network.close();
  }
}
