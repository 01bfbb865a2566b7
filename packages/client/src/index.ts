/**
 * The Tidewire SDK for browsers. To import it touches nothing of a browser, so it can be imported on a server.
 *
 * | to find | look in |
 * | --- | --- |
 * | what applications call | `client.ts`, `subscription.ts`, `watch.ts`, `diff.ts`, `mutation.ts`, `statements.ts`, `transaction.ts`, `rejection.ts`, `values.ts` |
 * | how a client is set up, and how it is | `options.ts`, `status.ts`, `errors.ts` |
 * | the worker, and the calls to it | `link.ts`, `again.ts`, `messages.ts`, `worker.ts`, `program.ts`, `surroundings.ts` |
 * | what the WebAssembly gives | `core.ts`, `wasm.ts` |
 */

export { createClient, type Position, type RemoteAnswer, type TidewireClient } from "./client.js";
export type { LogLevel } from "./core.js";
export { applyDiff, type Diff, type FromTo } from "./diff.js";
export { type ErrorCode, TidewireError } from "./errors.js";
export type { Unsubscribe } from "./listeners.js";
export type { Mutation, MutationState, WriteOptions } from "./mutation.js";
export type { ClientOptions } from "./options.js";
export type { Pending, PendingMutation, RejectedOperation, Rejection } from "./rejection.js";
export { type Add, add, type Changes, type Statement } from "./statements.js";
export type { Incident, Progress, Status, StatusWord, StorageStatus, StorageUse } from "./status.js";
export type { SubscribeOptions, Subscription, SubscriptionState } from "./subscription.js";
export type { Committed, Transaction } from "./transaction.js";
export { type Columns, type Param, type Row, toDate, type Value } from "./values.js";
export type { ResultState, Watch, WatchOptions, WatchResult } from "./watch.js";
