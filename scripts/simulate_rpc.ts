/**
 * Runs whole nodes and their ttrpc traffic on the simulator, seed by seed. The arguments and the exit
 * code are those of simulate_raft.ts:
 *
 *   bun scripts/simulate_rpc.ts --count 1000 --processes 2 [--keep-going]   a sweep, with its coverage
 *   bun scripts/simulate_rpc.ts --seed 17 [--trace]                         one seed again
 */
import { rpcSubject } from "../test/simulation/rpc/subject.ts";
import { simulate } from "../test/simulation/seeds/command.ts";

process.exitCode = await simulate(rpcSubject, process.argv.slice(2));
