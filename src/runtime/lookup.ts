/** Hosts as callers write them. */

/** Whether a resolver has to be asked, which takes a while: everything but an address. */
export function needsLookup(host: string): boolean {
  return !host.includes(":") && !/^[\d.]+$/.test(host);
}
