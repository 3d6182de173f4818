/** The compliance suite on the engine that runs this file: `bun test` or `deno test -A`. */
import { createRealHarness } from "./real.ts";
import { clockCompliance } from "./clock.ts";
import { diskCompliance } from "./disk.ts";
import { deniedCompliance } from "./denied.ts";
import { dialCompliance } from "./dial.ts";
import { hostCompliance } from "./host.ts";
import { httpCompliance } from "./http.ts";
import { leakCompliance } from "./leaks.ts";
import { nameCompliance } from "./names.ts";
import { netCompliance } from "./net.ts";
import { tlsCompliance } from "./tls.ts";
import { udpCompliance } from "./udp.ts";

const harness = await createRealHarness();
netCompliance(harness);
dialCompliance(harness);
deniedCompliance(harness);
tlsCompliance(harness);
udpCompliance(harness);
nameCompliance(harness);
clockCompliance(harness);
diskCompliance(harness);
hostCompliance(harness);
httpCompliance(harness);
leakCompliance(harness);
