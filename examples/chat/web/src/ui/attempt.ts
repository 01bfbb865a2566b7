/** What was done with a click and did not work: it is said where everything is said that the user has to know. */

import { Store } from "../session/store.js";

/** Why the last thing was not done, until the user has read it. */
export const failure = new Store<string | null>(null);

/** Nobody waits for it, and the user is told when it fails. */
export function attempt(done: Promise<unknown>): void {
  done.catch((error: unknown) => failure.set(error instanceof Error ? error.message : String(error)));
}

/** Nobody waits for it, and nobody has to know: it is done again, or of no use any more. */
export function ignore(done: Promise<unknown>): void {
  done.catch(() => undefined);
}
