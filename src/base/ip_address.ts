/** IP addresses as text and as bytes. */

/** The 4 bytes of a dotted IPv4 address, or the 16 of an IPv6 address; undefined for other text. */
export function parseIp(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** Four decimal numbers and nothing else: `010` and `127.1` mean different things to different tools. */
export function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let at = 0; at < 4; at++) {
    if (!/^(?:0|[1-9]\d{0,2})$/.test(parts[at])) return undefined;
    const value = Number(parts[at]);
    if (value > 255) return undefined;
    bytes[at] = value;
  }
  return bytes;
}

/** RFC 4291, 2.2: groups of hexadecimal digits, one `::`, perhaps an IPv4 address at the end. */
export function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = groups(halves[0], halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1], true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const given = head.length + tail.length;
  // `::` stands for one group of zeros at least.
  if (halves.length === 1 ? given !== 8 : given > 7) return undefined;
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  head.forEach((group, at) => view.setUint16(at * 2, group));
  tail.forEach((group, at) => view.setUint16((8 - tail.length + at) * 2, group));
  return bytes;
}

/** The groups of one side of `::`; `last` where an IPv4 address may end it. */
function groups(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const out: number[] = [];
  for (let at = 0; at < parts.length; at++) {
    if (last && at === parts.length - 1 && parts[at].includes(".")) {
      const ipv4 = parseIpv4(parts[at]);
      if (ipv4 === undefined) return undefined;
      out.push(ipv4[0] << 8 | ipv4[1], ipv4[2] << 8 | ipv4[3]);
    } else {
      if (!/^[0-9A-Fa-f]{1,4}$/.test(parts[at])) return undefined;
      out.push(Number.parseInt(parts[at], 16));
    }
  }
  return out;
}
