/**
 * What the WebAssembly of `sdk-wasm` gives: a thin shell over the Rust SDK, which runs in a worker. The
 * declarations that are generated beside it are loose, so the types are written here.
 *
 * Times have their unit in their name, except `writtenAt` and `lastSyncedAt`: microseconds since 1970, UTC.
 */

/** A value as it goes to Rust: see `values.ts` for what applications may give. */
export type CoreValue = null | boolean | number | bigint | string | Uint8Array | Date;

/** How a replica is opened. */
export interface CoreConfig {
  /** Addresses of one server: `ws:`, `wss:`, `http:` or `https:`. The next is tried when one is not reached. */
  servers: string[];
  user: string;
  name?: string;
  /**
   * A folder of the origin's private file system, or in Node of the system's, that holds the replicas of all users;
   * `null` in memory.
   */
  directory: string | null;
  appVersion?: number;
  /** `null` is never. */
  verifyEveryMs?: number | null;
  stallAfterMs?: number;
}

/** What the core asks of whoever has opened it. */
export interface CoreHost {
  token(): Promise<string>;
  /** Is called once for all that one step has changed. */
  emit(events: CoreEvent[]): void;
  log?(level: LogLevel, line: string): void;
}

/**
 * Files that the host has, for SQLite: by names without folders, and without waiting. Each function throws what is
 * wrong; `ENOSPC` or `EDQUOT` as its `code` says that there is no room.
 */
export interface CoreFiles {
  /** A number for an open file; `undefined` where there is none and none is to be made. */
  open(name: string, create: boolean): number | undefined;
  close(file: number): void;
  /** How many bytes there were from there on, at most as many as there is room for. */
  read(file: number, into: Uint8Array, at: number): number;
  /** All of them. */
  write(file: number, bytes: Uint8Array, at: number): void;
  truncate(file: number, size: number): void;
  /** What was written lasts through a power cut. */
  sync(file: number): void;
  size(file: number): number;
  exists(name: string): boolean;
  /** Durably, if it is there. */
  remove(name: string): void;
  /** All of it is there under the other name, durably, or nothing. */
  copy(from: string, to: string): void;
}

/** How important a line of the log is. */
export type LogLevel = "warn" | "info" | "debug";

/** Columns and their values. */
export type CoreColumns = Record<string, CoreValue>;

/** One statement of a write. */
export type CoreStatement =
  | { sql: string; params?: CoreValue[] }
  | { query: string; params?: CoreValue[] }
  | { insert: string; values: CoreColumns }
  | { update: string; key: CoreColumns; set?: CoreColumns; add?: CoreColumns }
  | { delete: string; key: CoreColumns }
  | { expect: string; key: CoreColumns; values?: CoreColumns };

/**
 * Which call of whom it is: what it does is done once, however often it is asked for, and what it has given is stored
 * with it.
 */
export interface CoreRequest {
  /** Whose call: 1 to 64 bytes. Nobody else has this name. */
  client: string;
  /** Which: grows from one call of this client to the next. */
  number: number;
  /** All below this have been answered, and are asked for never again. At most `number`. */
  answered: number;
}

/** How something is done that is done once. */
export interface CoreOnce {
  request?: CoreRequest;
}

/** How something is written. */
export interface CoreWriteOptions extends CoreOnce {
  online?: boolean;
  queue?: string;
  onReject?: "hold" | "continue";
  unchanged?: boolean;
  replaces?: number;
}

/**
 * How it is with a write. One that was decided so long ago that it is not known any more how is `uncertain` where
 * {@link Core.answer} gives it.
 */
export type CoreMutationState =
  | { state: "local" | "queued" | "sent" | "expired" | "stuck" | "uncertain" }
  | { state: "accepted"; seq: number }
  | { state: "rejected"; code: string; reason: string };

/** Rows by the place of their columns. */
export interface CoreRows {
  columns: string[];
  rows: unknown[][];
}

/** What a write has done. */
export interface CoreWrote extends CoreRows {
  /** None of what stays on the device. */
  id: number | null;
  rowsAffected: number;
  state: CoreMutationState;
}

/** What waits for the server. */
export interface CorePending {
  mutations: {
    id: number;
    writtenAt: number;
    rows: { table: string; key: unknown }[];
    state: CoreMutationState;
  }[];
  oldestAgeMs: number | null;
}

/** What was written and did not happen. */
export interface CoreRejection {
  id: number;
  writtenAt: number;
  state: CoreMutationState;
  queue: string | null;
  operations: {
    table: string;
    kind: "insert" | "upsert" | "update" | "delete";
    key: Record<string, unknown>;
    set: Record<string, unknown>;
    add: Record<string, unknown>;
    server: { state: "unknown" | "gone" } | { state: "row"; row: Record<string, unknown> };
  }[];
}

/** How far a load is. */
export interface CoreProgress {
  rows: number;
  remaining: number | null;
  fraction: number | null;
}

/** How it is with a subscription. */
export interface CoreSubscriptionView {
  state: "loading" | "live" | "behind" | "idle" | "refused";
  progress: CoreProgress;
  error: CoreError | null;
}

/** How something is subscribed to. */
export interface CoreSubscribeOptions {
  fetchLast?: number;
  batchRows?: number;
  ttlMs?: number;
}

/** How much room the replica takes. Sizes are in bytes. */
export interface CoreStorage {
  /** The file. */
  file: number;
  /** Beside it: what was written last. */
  journal: number;
  /** In the file and free: what is written next takes it. */
  free: number;
  /** What waits for the server. */
  outbox: number;
  /** What was rejected and is not dealt with. */
  rejections: number;
  /** Tables with their indexes, those of the application among them, the largest first. */
  tables: { name: string; rows: number; bytes: number }[];
  /** What is subscribed to, and its share: rows that several hold are in the share of each. */
  subscriptions: { sql: string; rows: number; bytes: number }[];
}

/** How a statement is sent to the server. */
export interface CoreRemoteOptions {
  timeoutMs?: number;
  /** 16 bytes, under which the server keeps the answer of a write for 24 hours. Drawn at random without. */
  requestId?: Uint8Array;
}

/** Where a lane was. It is given back as it came. */
export type CorePosition = unknown;

/** What a server answers. */
export interface CoreRemoteAnswer {
  columns: { name: string; type: string }[];
  rows: unknown[][];
  rowsAffected: number | null;
  positions: CorePosition[];
}

/** Why something was not done: a plain object, because it goes from the worker to the page. */
export interface CoreError {
  code: string;
  message: string;
  documentation: string;
  retryAfterMs: number | null;
}

/** What is new in the result of a watched query. */
export interface CoreResult {
  type: "result";
  handle: string;
  state: "loading" | "cached" | "live" | "behind";
  error: CoreError | null;
  columns: string[];
  /** One for each row: its place in the result before, or -1 for the next of `fresh`. */
  order: Int32Array;
  fresh: unknown[][];
  diff: CoreDiff;
}

/** What is new in it, by places. `updated` and `moved` are pairs: from, to, from, to, … */
export interface CoreDiff {
  key: string[];
  removed: Uint32Array;
  inserted: Uint32Array;
  updated: Uint32Array;
  moved: Uint32Array;
}

/** What the core tells by itself. */
export type CoreEvent =
  | CoreResult
  | {
      type: "status";
      word: string;
      reason: { code: string; message: string } | null;
      lastSyncedAt: number | null;
      progress: CoreProgress;
    }
  | { type: "subscription"; handle: string; view: CoreSubscriptionView }
  | { type: "mutation"; id: number; state: CoreMutationState }
  | { type: "rejections" }
  | { type: "incident"; kind: string; message: string };

/** A replica that is open. What fails rejects with a {@link CoreError}. */
export interface Core {
  query(sql: string, params: CoreValue[]): Promise<CoreRows>;
  watch(handle: string, sql: string, params: CoreValue[], key?: string[]): void;
  unwatch(handle: string): void;
  /** One whose request was done before is not done again, and gives what it gave then. */
  write(statements: CoreStatement[], options?: CoreWriteOptions): Promise<CoreWrote>;
  /**
   * Its request is stored when it is committed. One whose request was done before ends at once with `conflict`: ask
   * {@link Core.answer} before it is begun again.
   */
  begin(handle: string, options?: CoreWriteOptions): void;
  run(handle: string, statement: CoreStatement): Promise<CoreRows & { rowsAffected: number }>;
  commit(handle: string): Promise<CoreWrote>;
  rollback(handle: string): void;
  /** Rejects with why it is over by itself, as soon as it is; is fulfilled when it was committed or rolled back. */
  over(handle: string): Promise<void>;
  /**
   * What a request has given, if it was done and not said to be answered: a write, whose states are told from there
   * on, or `true` where `cancel` or `discard` has done something. Where they could not, nothing is stored: it is asked
   * again.
   */
  answer(client: string, number: number): Promise<CoreWrote | true | undefined>;
  /** Forgets the requests of everybody else. */
  keepRequests(clients: string[]): Promise<void>;
  pending(): Promise<CorePending>;
  /** Of a write that had a request, also how it was decided, as long as it is one of the last 1,000 that were. */
  mutation(id: number): Promise<CoreWrote | undefined>;
  cancel(id: number, options?: CoreOnce): Promise<boolean>;
  rejections(): Promise<CoreRejection[]>;
  retry(id: number, options?: CoreOnce): Promise<CoreWrote>;
  discard(id: number, options?: CoreOnce): Promise<boolean>;
  subscribe(
    handle: string,
    sql: string,
    params: CoreValue[],
    options?: CoreSubscribeOptions,
  ): Promise<CoreSubscriptionView>;
  loadOlder(handle: string, rows: number): void;
  reset(handle: string): void;
  verify(handle: string): Promise<{ verdict: "same" | "different" | "unknown" }>;
  release(handle: string): void;
  unsubscribe(handle: string): void;
  remote(sql: string, params: CoreValue[], options?: CoreRemoteOptions): Promise<CoreRemoteAnswer>;
  waitFor(positions: CorePosition[]): Promise<void>;
  waitForSync(timeoutMs?: number): Promise<void>;
  syncOnce(deadlineMs: number): Promise<void>;
  suspend(deadlineMs: number): Promise<void>;
  pause(): void;
  resume(): void;
  nudge(): void;
  storage(): Promise<CoreStorage>;
  diagnose(): Promise<object>;
  close(): Promise<void>;
  signOut(data: "keep" | "wipe", discardPending: boolean): Promise<void>;
}
