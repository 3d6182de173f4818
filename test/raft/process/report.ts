/** What a test measured. Timings are printed and never judged: this machine may be busy. */
import process from "node:process";

/** The test command shows lines that begin so, also of tests that pass. */
export function report(text: string): void {
  process.stderr.write(`measured: ${text}\n`);
}
