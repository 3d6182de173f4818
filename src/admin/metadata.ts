/** HTTP headers as call metadata, and back. */

/** What belongs to HTTP, to Connect or to the identity of the caller is no metadata of the call. */
const notMetadata: ReadonlySet<string> = new Set([
  "accept",
  "authorization",
  "cache-control",
  "connection",
  "cookie",
  "date",
  "expect",
  "forwarded",
  "host",
  "keep-alive",
  "origin",
  "pragma",
  "priority",
  "referer",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "user-agent",
  "via",
]);
const notMetadataPrefix = /^(?:accept-|connect-|content-|if-|proxy-|sec-|x-forwarded-|:)/;

/** What a handler may not set: it would change how the answer is read, or open it to others. */
const notResponse: ReadonlySet<string> = new Set([
  "cache-control",
  "connection",
  "date",
  "keep-alive",
  "location",
  "referrer-policy",
  "set-cookie",
  "strict-transport-security",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "x-content-type-options",
  "x-frame-options",
]);
const notResponsePrefix = /^(?:access-control-|connect-|content-|cross-origin-|sec-|trailer-)/;

/** The metadata of a request; several values of a key are one header, joined by commas. */
export function requestMetadata(headers: Headers): (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  headers.forEach((value, key) => {
    if (!notMetadata.has(key) && !notMetadataPrefix.test(key)) pairs.push([key, value]);
  });
  return pairs;
}

/** Adds one pair. What HTTP cannot carry is left out, as a peer without metadata would do. */
export function addResponseMetadata(headers: Headers, key: string, value: string): void {
  const name = key.toLowerCase();
  if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) return;
  if (notResponse.has(name) || notResponsePrefix.test(name)) return;
  // Header values are visible ASCII and inner spaces; anything else would be refused or misread.
  if (!/^[\x20-\x7e\t]*$/.test(value)) return;
  headers.append(name, value);
}
