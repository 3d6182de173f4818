/**
 * Runs the protocol core of membership in virtual time, seed by seed:
 *
 *   bun scripts/simulate_membership.ts --from 1 --count 300 [--keep-going]   a sweep, with its coverage
 *   bun scripts/simulate_membership.ts --count 300 --processes 2             all of them, side by side
 *   bun scripts/simulate_membership.ts --mutations --processes 2 [NAME…]     bugs put back, and found
 *   bun scripts/simulate_membership.ts --seed 17 [--trace]                   one seed again
 *   bun scripts/simulate_membership.ts --hashes                              rewrites the committed hashes
 *
 * It ends with 0 when every seed kept every invariant, else with 1 and the command that shows the
 * first one that did not. `--json` prints one object at the end, for who adds up several of these.
 */
import { membershipSubject } from "../test/simulation/membership/subject.ts";
import { simulate } from "../test/simulation/seeds/command.ts";

process.exitCode = await simulate(membershipSubject, process.argv.slice(2));
