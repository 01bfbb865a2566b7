/** What applications have of the package, besides what makes a client. */

export type { Position, RemoteAnswer, TidewireClient } from "./client.js";
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
export type { AnyTables, RemoteRow, TablesOf, TableTypes } from "./tables.js";
export type { Committed, Transaction } from "./transaction.js";
export { type Columns, type Param, type Row, toDate, type Value } from "./values.js";
export type { ResultState, Watch, WatchOptions, WatchResult } from "./watch.js";
