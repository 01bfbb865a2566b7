"use client";

/**
 * What server components are given of the package: the mark above says that it is for the browser. Everybody else has
 * `index.ts` itself, since bundlers that know nothing of the mark warn of it.
 */

// One by one: through `*` nobody sees what it is.
export {
  TidewireProvider,
  useLiveQuery,
  useMutation,
  useMutationState,
  usePending,
  useRejections,
  useStatus,
  useSubscription,
  useSuspenseLiveQuery,
  useTidewire,
} from "./index.js";
