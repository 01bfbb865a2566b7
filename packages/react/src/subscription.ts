/** What comes to the device. */

import {
  type Param,
  type Progress,
  type SubscribeOptions,
  type SubscriptionState,
  TidewireError,
} from "@tidewire/client";
import { useMemo } from "react";

import { useClient } from "./context.js";
import { keyOf, keysOf } from "./key.js";
import { type Source, useShared } from "./shared.js";
import { attempt, isSameError } from "./source.js";

/** How it is with a subscription. The same object as long as nothing has changed. */
export interface SubscriptionResult {
  /**
   * `loading`; `live`; `behind`: all was here, as of some time ago; `refused`; `idle`: it was ended elsewhere, or the
   * client was closed.
   */
  readonly state: SubscriptionState;
  /** How far its load is. */
  readonly progress: Progress;
  /** Why it is refused, if it is; or why it cannot begin for now, which is tried again by itself. */
  readonly error: TidewireError | null;
  /**
   * Makes its window wider by so many older rows, for all components that share it. They come when the server sends
   * them. Throws `invalid_request` for what is no number of rows, and when nothing is subscribed to: before the
   * component is there, and when the state is `idle`.
   */
  readonly loadOlder: (rows: number) => void;
}

/**
 * Asks the server for rows, while the component is there, and shows how that is going. Read them with `useLiveQuery`.
 *
 * Components that ask for the same share it. It is released 100 milliseconds after the last of them, and its rows stay
 * up to date on the device for its `ttl`. Parameters are compared by value, and what is wrong is in `error`.
 *
 * @param sql - The SQL of a subscription: columns of one table, and which of its rows.
 * @param params - The values of `$1`, `$2` and so on.
 */
export function useSubscription(
  sql: string,
  params: readonly Param[] = [],
  options: SubscribeOptions = {},
): SubscriptionResult {
  const { fetchLast, batchRows, ttl } = options;
  const name = keyOf(sql, keysOf(params), fetchLast, batchRows, ttl);
  const source = useMemo(() => subscriptionSource(sql, [...params], options), [name]);
  return useShared(useClient(), source);
}

const FIRST: SubscriptionResult = Object.freeze({
  state: "loading",
  progress: Object.freeze({ rows: 0, remaining: null, fraction: null }),
  error: null,
  loadOlder: () => {
    throw new TidewireError("invalid_request", "nothing is subscribed to yet: load older rows when the component is there");
  },
});

/** A subscription, for all components that want it. */
export function subscriptionSource(
  sql: string,
  params: readonly Param[],
  { fetchLast, batchRows, ttl }: SubscribeOptions,
): Source<SubscriptionResult> {
  return {
    key: keyOf("subscription", sql, keysOf(params), fetchLast, batchRows, ttl),
    first: FIRST,
    open: (client, show) =>
      attempt(
        () => {
          const subscription = client.subscribe(sql, params, { fetchLast, batchRows, ttl });
          const loadOlder = (rows: number): void => subscription.loadOlder(rows);
          let shown: SubscriptionResult = FIRST;
          const look = (): void => {
            const { state, progress, error } = subscription;
            if (shown.loadOlder === loadOlder && isSame(shown, { state, progress, error, loadOlder })) return;
            shown = { state, progress, error, loadOlder };
            show(shown);
          };
          look();
          const stop = subscription.onChange(look);
          return () => {
            stop();
            subscription.release();
          };
        },
        (error) => show({ ...FIRST, state: "refused", error }),
      ),
  };
}

/** Stands for a subscription where a query has none. */
export const NO_SUBSCRIPTION: Source<SubscriptionResult> = {
  key: keyOf("no subscription"),
  first: FIRST,
  open: () => () => undefined,
};

function isSame(a: SubscriptionResult, b: SubscriptionResult): boolean {
  const [before, after] = [a.progress, b.progress];
  const isAsFar =
    before.rows === after.rows && before.remaining === after.remaining && before.fraction === after.fraction;
  return a.state === b.state && isAsFar && isSameError(a.error, b.error);
}
