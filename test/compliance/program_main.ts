/** Run as a program by the suite: one of the {@link programs} on the engine that runs this file. */
import { runProgram } from "./programs.ts";
import { pickRuntime } from "./real.ts";

const create = await pickRuntime();
await runProgram(create());
