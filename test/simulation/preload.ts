/**
 * Arms the ban for a whole process: `bun test --preload ./test/simulation/preload.ts …`, or as the
 * first import of a file that runs under Deno.
 */
import { armBan } from "./ban.ts";

armBan();
