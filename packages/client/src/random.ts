/** Random names. Pages without a secure context have no `randomUUID`. */

/** 16 random bytes. */
export function randomBytes(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(16));
}

/** A name that nobody else has. */
export function randomId(): string {
  return Array.from(randomBytes(), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
