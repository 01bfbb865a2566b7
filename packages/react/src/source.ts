/** The live result of a query. */

import {
  type Param,
  type ResultState,
  type Row,
  type SubscribeOptions,
  type Subscription,
  type SubscriptionState,
  TidewireError,
  type WatchOptions,
} from "@tidewire/client";

import { keyOf, keysOf } from "./key.js";
import type { Source } from "./shared.js";

/** What a live query gives now. */
export interface LiveResult<R extends object = Row> {
  /**
   * Its rows; those before where there is an error. A row that is equal to one of the result before is the same
   * object, and when all are, the array is the same, too. So do not change them.
   */
  readonly rows: readonly R[];
  /**
   * `loading`: not all that it stands on has come yet, and no row is here. `cached`: the same, and some rows are here.
   * `live`: all is here, and changes come as they happen. `behind`: all was here, as of some time ago. What is `live`
   * or `behind` may be empty.
   */
  readonly state: ResultState;
  /** What is wrong with the query, or why the server refuses what it subscribes to; `null` as long as nothing is. */
  readonly error: TidewireError | null;
}

/** What is to be on the device for a query. */
export interface SubscribeRequest extends SubscribeOptions {
  /** The SQL of a subscription: columns of one table, and which of its rows. */
  readonly sql: string;
  readonly params?: readonly Param[] | undefined;
}

/** How a query is shown. */
export interface LiveQueryOptions extends WatchOptions {
  /**
   * What the server is asked for while the component is there, so that the query shows it and stays up to date. `true`
   * is the query itself, which must be such as a subscription can be then: without ORDER BY, LIMIT and joins. Otherwise
   * say which rows it needs. Without it, nothing is asked for: the query reads what is on the device.
   *
   * The result is not `live` before the subscription is.
   */
  readonly subscribe?: boolean | SubscribeRequest | undefined;
}

export const LOADING: LiveResult<never> = Object.freeze({ rows: Object.freeze([]), state: "loading", error: null });

/** A query, for all components that show it. */
export function querySource<R extends object>(
  sql: string,
  params: readonly Param[],
  { key, whileHidden }: WatchOptions,
): Source<LiveResult<R>> {
  return {
    key: keyOf("query", sql, keysOf(params), key, whileHidden),
    first: LOADING,
    open(client, show) {
      let shown: LiveResult<R> = LOADING;
      const give = (next: LiveResult<R>): void => {
        if (isSame(shown, next)) return;
        shown = next;
        show(next);
      };
      return attempt(
        () => {
          const watch = client.watch<R>(sql, params, { key, whileHidden });
          const leave = watch.onResult(({ rows, state, error }) => give({ rows, state, error }));
          // A watch says nothing of it when the application closes the client.
          const stop = client.onStatus(({ word }) => {
            if (word === "closed") show((shown = { ...shown, state: shown.state === "live" ? "behind" : shown.state }));
          });
          return () => {
            leave();
            stop();
          };
        },
        (error) => show({ ...LOADING, error }),
      );
    },
  };
}

/** Begins something. What cannot be begun, because of its arguments, is told, and there is nothing to end. */
export function attempt(begin: () => () => void, failed: (error: TidewireError) => void): () => void {
  try {
    return begin();
  } catch (error) {
    if (!(error instanceof TidewireError)) throw error;
    failed(error);
    return () => undefined;
  }
}

/** What a query gives that is not whole before a subscription is. */
export function withSubscription<R extends object>(
  result: LiveResult<R>,
  { state: subscribed, error: refused }: Pick<Subscription, "state" | "error">,
): LiveResult<R> {
  // A subscription that was ended has nothing to say of the query, and one of a closed client no more than the query.
  const error = result.error ?? (subscribed === "idle" ? null : refused);
  const state = stateWith(result, subscribed);
  return state === result.state && error === result.error ? result : { ...result, state, error };
}

function stateWith({ state, rows }: LiveResult<object>, subscribed: SubscriptionState): ResultState {
  if (state === "loading" || state === "cached") return state;
  switch (subscribed) {
    case "loading":
    case "refused":
      return rows.length === 0 ? "loading" : "cached";
    case "behind":
    case "idle":
      return "behind";
    case "live":
      return state;
  }
}

function isSame(a: LiveResult<object>, b: LiveResult<object>): boolean {
  return a.rows === b.rows && a.state === b.state && isSameError(a.error, b.error);
}

/** Whether two errors say the same: they are made anew each time. */
export function isSameError(a: TidewireError | null, b: TidewireError | null): boolean {
  return a?.code === b?.code && a?.message === b?.message;
}
