/**
 * React hooks for `@tidewire/client`. To import it touches nothing of a browser, so it can be imported on a server.
 *
 * | to find | look in |
 * | --- | --- |
 * | who has the client | `context.ts` |
 * | live results | `live.ts`, `source.ts` |
 * | what comes to the device | `subscription.ts` |
 * | writing, and what becomes of it | `mutation.ts`, `waiting.ts` |
 * | how it is with the connection | `status.ts` |
 * | why components that show the same share it | `shared.ts`, `key.ts` |
 * | what server components are given of it | `boundary.ts` |
 */

export { TidewireProvider, type TidewireProviderProps, useTidewire } from "./context.js";
export { useLiveQuery, useSuspenseLiveQuery } from "./live.js";
export { type Mutate, useMutation, useMutationState } from "./mutation.js";
export type { LiveQueryOptions, LiveResult, SubscribeRequest } from "./source.js";
export { useStatus } from "./status.js";
export { type SubscriptionResult, useSubscription } from "./subscription.js";
export { usePending, useRejections } from "./waiting.js";
