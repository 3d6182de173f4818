/** Lines that the test command shows even when the test passes: see scripts/test.ts. */
export function show(text: string): void {
  console.log(text.replace(/^/gm, "measured: "));
}
