/** Which version this is, for pages of the same site that have another one. */

/** That of the package. */
export const VERSION = "0.1.0";

/** Pages of other numbers do not understand each other, but for {@link Hello}. */
export const PROTOCOL = 1;

/** What pages tell each other first. Its form stays for ever. */
export interface Hello {
  readonly protocol: number;
  readonly version: string;
}

/** What this one says. */
export const HELLO: Hello = { protocol: PROTOCOL, version: VERSION };

/** More than 0 where `a` is newer. */
export function compare(a: Hello, b: Hello): number {
  const numbers = ({ version }: Hello): number[] => version.split(/[.+-]/).map((part) => Number.parseInt(part, 10) || 0);
  const [left, right] = [numbers(a), numbers(b)];
  const pairs = [[a.protocol, b.protocol], ...[0, 1, 2].map((at) => [left[at], right[at]])];
  for (const [one, other] of pairs) {
    const order = (one ?? 0) - (other ?? 0);
    if (order !== 0) return order;
  }
  return 0;
}
