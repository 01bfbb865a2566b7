/** How it is with the connection. */

import type { Status } from "@tidewire/client";
import { useCallback, useSyncExternalStore } from "react";

import { useClient } from "./context.js";

/**
 * How it is, in a word, why, when everything was here for the last time, and how far the loads are. On a server it is
 * `connecting`.
 */
export function useStatus(): Status {
  const client = useClient();
  const join = useCallback((listener: () => void) => client?.onStatus(listener) ?? (() => undefined), [client]);
  return useSyncExternalStore(
    join,
    () => client?.status ?? FIRST,
    () => FIRST,
  );
}

/** Before anything is known. */
const FIRST: Status = Object.freeze({
  word: "connecting",
  reason: null,
  lastSyncedAt: null,
  progress: Object.freeze({ rows: 0, remaining: null, fraction: null }),
  storage: Object.freeze({ kind: "none", isPersistent: null }),
});
