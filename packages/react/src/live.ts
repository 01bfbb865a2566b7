/** Hooks for live results. */

import { type Param, type Row, type TidewireClient, TidewireError } from "@tidewire/client";
import { useMemo } from "react";

import { useClient } from "./context.js";
import { keyOf, keysOf } from "./key.js";
import { open, type Shared, useShared } from "./shared.js";
import { type LiveQueryOptions, type LiveResult, querySource, type SubscribeRequest, withSubscription } from "./source.js";
import { NO_SUBSCRIPTION, type SubscriptionResult, subscriptionSource } from "./subscription.js";

/**
 * A local query whose result stays up to date: any SQL of SQLite that reads what is on the device.
 *
 * ```tsx
 * const { rows } = useLiveQuery<{ id: string; body: string }>("SELECT id, body FROM chat.messages WHERE room = $1", [room], {
 *   subscribe: true,
 * });
 * ```
 *
 * It never waits for the network, and never throws because of the query: what is wrong is in `error`. Parameters are
 * compared by value. When one of them changes, the same render has `loading` and no rows, or what another component
 * shows of that query already. Components that show the same query share it; it ends 100 milliseconds after the last of
 * them. Without a client, on a server, it is `loading`; when the client is closed, what was `live` is `behind`.
 *
 * @param sql - Any SQL of SQLite that reads. A subscription is another, smaller language.
 * @param params - The values of `$1`, `$2` and so on.
 */
export function useLiveQuery<R extends object = Row>(
  sql: string,
  params: readonly Param[] = [],
  options: LiveQueryOptions = {},
): LiveResult<R> {
  const client = useClient();
  return useResult(client, useSources<R>(sql, params, options));
}

/**
 * The same for `<Suspense>`: the component is not there before there is a first row, or it is known that there is none.
 * So offline, what was never loaded is suspended until there is a connection.
 *
 * Until then it throws what is wrong with the query, `invalid_request` when the client is closed, and `unsupported` on
 * a server, where the boundary shows its fallback: to the next error boundary, and after 100 milliseconds the query is
 * tried anew. Once it was shown, it goes on as {@link useLiveQuery}, and what is wrong is in `error`. Change a
 * parameter within `startTransition` to keep the old screen until the new result is there.
 */
export function useSuspenseLiveQuery<R extends object = Row>(
  sql: string,
  params: readonly Param[] = [],
  options: LiveQueryOptions = {},
): LiveResult<R> {
  const client = useClient();
  const sources = useSources<R>(sql, params, options);
  // It is subscribed to what is opened here once it is there.
  useResult(client, sources);
  if (!client) throw new TidewireError("unsupported", NOT_ON_A_SERVER);
  // The subscription first, so that the query finds it.
  const subscription = sources.isSubscribed ? open(client, sources.subscription) : undefined;
  const query = open(client, sources.query);
  const [result, view] = [query.value, subscription?.value];
  const now = useMemo(() => (view ? withSubscription(result, view) : result), [result, view]);
  const waits = Promise.race([query.hold(), subscription?.hold()].filter((wait) => wait !== undefined));
  if (query.given.has(sources.subscription.key)) return now;
  const error = failure(client, result, view);
  if (error) {
    // So that whoever tries again does not find what has failed.
    for (const shared of [query, subscription] as (Shared<unknown> | undefined)[]) shared?.linger();
    throw error;
  }
  if (now.state === "loading") throw waits;
  query.given.add(sources.subscription.key);
  return now;
}

const NOT_ON_A_SERVER =
  "a query that suspends is rendered in the browser only: put it into <Suspense>, whose fallback is shown until then";

interface Sources<R extends object> {
  readonly query: ReturnType<typeof querySource<R>>;
  readonly subscription: typeof NO_SUBSCRIPTION;
  readonly isSubscribed: boolean;
}

/** The same objects as long as nothing in them has another value. */
function useSources<R extends object>(sql: string, params: readonly Param[], options: LiveQueryOptions): Sources<R> {
  const { subscribe, key, whileHidden } = options;
  const wanted: SubscribeRequest | undefined = subscribe === true ? { sql, params } : subscribe || undefined;
  const made = (): Sources<R> => ({
    query: querySource<R>(sql, [...params], { key, whileHidden }),
    subscription: wanted ? subscriptionSource(wanted.sql, [...(wanted.params ?? [])], wanted) : NO_SUBSCRIPTION,
    isSubscribed: wanted !== undefined,
  });
  const asked = wanted && [wanted.sql, keysOf(wanted.params ?? []), wanted.fetchLast, wanted.batchRows, wanted.ttl];
  const name = keyOf(sql, keysOf(params), key, whileHidden, asked);
  return useMemo(made, [name]);
}

function useResult<R extends object>(client: TidewireClient | null, sources: Sources<R>): LiveResult<R> {
  // The subscription first, so that the query finds it.
  const view = useShared(client, sources.subscription);
  const result = useShared(client, sources.query);
  const { isSubscribed } = sources;
  return useMemo(() => (isSubscribed ? withSubscription(result, view) : result), [result, view, isSubscribed]);
}

/** Why there will be no result, unless something else is asked. */
function failure(
  client: TidewireClient,
  result: LiveResult<object>,
  view: SubscriptionResult | undefined,
): TidewireError | null {
  if (result.error) return result.error;
  // What it cannot begin for now, it begins later.
  if (view?.state === "refused") return view.error;
  if (client.status.word !== "closed") return null;
  return new TidewireError("invalid_request", "the client is closed: give the provider another one");
}
