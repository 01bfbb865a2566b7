/** What a page tells by itself: that it is in front, and that there is a network again. */

import { TidewireError } from "./errors.js";
import type { Unsubscribe } from "./listeners.js";

/** Throws where a client cannot be. Nothing of a browser is touched before. */
export function checkSurroundings(): void {
  if (typeof Worker === "undefined") {
    throw new TidewireError(
      "unsupported",
      "there is no Worker here: create the client in the browser, for instance in an effect, and not while a page is " +
        "rendered on a server",
    );
  }
}

/** Calls back when a connection may be possible again, so that nobody waits out a pause. */
export function onWake(callback: () => void): Unsubscribe {
  const scope: { addEventListener?: unknown } = globalThis;
  if (typeof scope.addEventListener !== "function") return () => undefined;
  const seen = (): void => {
    if (document.visibilityState === "visible") callback();
  };
  globalThis.addEventListener("online", callback);
  const page = typeof document === "undefined" ? undefined : document;
  page?.addEventListener("visibilitychange", seen);
  return () => {
    globalThis.removeEventListener("online", callback);
    page?.removeEventListener("visibilitychange", seen);
  };
}

/** Asks the browser not to clear what is stored by itself. `null` where it does not say. */
export async function persist(asks: boolean): Promise<boolean | null> {
  try {
    const { storage } = navigator;
    return (await storage.persisted()) || (asks && (await storage.persist()));
  } catch {
    return null;
  }
}
