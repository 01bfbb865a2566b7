/** What was written and is not decided, or did not happen. */

import type { Pending, Rejection } from "@tidewire/client";

import { useClient } from "./context.js";
import { type Source, useShared } from "./shared.js";

/**
 * What waits for the server, of all pages: how many writes, and which. `oldestAge` is in milliseconds, as of the last
 * change. There is nothing before it is known, and on a server.
 */
export function usePending(): Pending {
  return useShared(useClient(), PENDING);
}

/**
 * What was rejected, or is uncertain, and not dealt with, also from before a reload: see `rejection.retry()` and
 * `rejection.discard()`. There is nothing before it is known, and on a server.
 */
export function useRejections(): readonly Rejection[] {
  return useShared(useClient(), REJECTIONS);
}

const PENDING: Source<Pending> = {
  key: "pending",
  first: Object.freeze({ mutations: Object.freeze([]), count: 0, oldestAge: null }),
  open(client, show) {
    let shown = PENDING.first;
    let isOver = false;
    let isAsking = false;
    let isOutdated = false;
    const ask = async (): Promise<void> => {
      isOutdated = true;
      if (isAsking) return;
      isAsking = true;
      while (isOutdated && !isOver) {
        isOutdated = false;
        // While the client is suspended it cannot be asked. When that is over its status is another.
        const pending = await client.pending().catch(() => shown);
        if (isOver || isSame(shown, pending)) continue;
        shown = pending;
        show(pending);
      }
      isAsking = false;
    };
    let { word } = client.status;
    const stopStatus = client.onStatus((status) => {
      if (word !== status.word) void ask();
      ({ word } = status);
    });
    // It has a row for each row that a write waits for: when it changes, so does what waits.
    const stopWatch = client.watch("SELECT mutation, state FROM tw_pending").onResult(() => void ask());
    return () => {
      isOver = true;
      stopStatus();
      stopWatch();
    };
  },
};

const REJECTIONS: Source<readonly Rejection[]> = {
  key: "rejections",
  first: Object.freeze([]),
  open(client, show) {
    let shown = REJECTIONS.first;
    return client.onRejections((rejections) => {
      if (shown.length === 0 && rejections.length === 0) return;
      shown = rejections;
      show(rejections);
    });
  },
};

function isSame(a: Pending, b: Pending): boolean {
  return (
    a.count === b.count &&
    a.mutations.every(({ id, state }, at) => id === b.mutations[at]?.id && state.state === b.mutations[at].state.state)
  );
}
