/** How it is with the connection, and what has gone wrong and was mended. */

import type { CoreEvent, CoreProgress, CoreStorage } from "./core.js";
import { codeOf, type ErrorCode } from "./errors.js";
import { fromMicroseconds } from "./values.js";

/**
 * How it is, in a word.
 *
 * | word | |
 * | --- | --- |
 * | `paused` | the application does not want a connection: it was paused, or suspended |
 * | `offline` | there is none for now; it is tried again and again |
 * | `connecting` | the first one is being made since the client was created or resumed |
 * | `connected` | there is one, and everything that is subscribed to is here and live |
 * | `behind` | there is one, and something is still to come |
 * | `needs_auth` | there is none because of the token; the callback is asked again |
 * | `wrong_user` | the callback gave a token of another user; nothing was sent |
 * | `update_required` | there is none because the client is too old |
 * | `disk_full` | there is no room; it goes on by itself when there is |
 * | `error` | the replica cannot be opened or written, or the worker has stopped; it is tried again if it can help |
 * | `closed` | the client is closed |
 */
export type StatusWord = (typeof WORDS)[number];

const WORDS = [
  "paused",
  "offline",
  "connecting",
  "connected",
  "behind",
  "needs_auth",
  "wrong_user",
  "update_required",
  "disk_full",
  "error",
  "closed",
] as const;

/** How it is. */
export interface Status {
  readonly word: StatusWord;
  /** Why, where there is a reason. */
  readonly reason: { readonly code: ErrorCode; readonly message: string } | null;
  /** When everything was here for the last time. It never goes back, and is kept while offline. */
  readonly lastSyncedAt: Date | null;
  /** How far the loads are, all of them together. */
  readonly progress: Progress;
  readonly storage: StorageStatus;
}

/** Where the replica is. */
export interface StorageStatus {
  /**
   * `opfs` is the origin's private file system, `indexeddb` memory that is kept in IndexedDB, where there is no such
   * file system; `file` a directory of Node, `memory` nothing that lasts; `none` before the replica is open.
   *
   * `stand-in` is a replica in memory of this page alone, for as long as another page of the site has the files and
   * does not answer. It has what the page subscribes to. A write is done when the server has accepted it, and rejects
   * when the server rejects it; what was written before, and tables of the application, the other replica has alone.
   */
  readonly kind: "opfs" | "indexeddb" | "stand-in" | "file" | "memory" | "none";
  /** Whether the browser has promised not to clear it by itself; `null` as long as it has not answered. */
  readonly isPersistent: boolean | null;
}

/** How much room the replica takes. Sizes are in bytes. */
export type StorageUse = Readonly<CoreStorage>;

/** How far a load is. */
export interface Progress {
  /** Rows that it has brought since it began, or since the client was opened. */
  readonly rows: number;
  /** About how many are left to look at, once the server has said so. */
  readonly remaining: number | null;
  /** From 0 to 1, as far as it is known. It is 1 exactly when all is here. */
  readonly fraction: number | null;
}

/**
 * Something that should not happen, and what was done about it. Nothing has to be done but to know of it.
 */
export interface Incident {
  /** `rebuilt`, `stalled`, `mismatched`, `dropped`, `outdated` or `stand-in`. There may be others later. */
  readonly kind: string;
  /** What it was, for people. It has no row in it. */
  readonly message: string;
}

/** Before anything is known. */
export const FIRST_STATUS: Status = {
  word: "connecting",
  reason: null,
  lastSyncedAt: null,
  progress: { rows: 0, remaining: null, fraction: null },
  storage: { kind: "none", isPersistent: null },
};

/** What the core says, with the storage that is known here. */
export function toStatus(event: CoreEvent & { type: "status" }, { lastSyncedAt, storage }: Status): Status {
  const { reason } = event;
  const syncedAt = event.lastSyncedAt === null ? null : fromMicroseconds(event.lastSyncedAt);
  // A stand-in does not know what was before it.
  const isEarlier = lastSyncedAt !== null && (syncedAt === null || syncedAt < lastSyncedAt);
  return {
    word: WORDS.find((word) => word === event.word) ?? "error",
    reason: reason && { code: codeOf(reason.code), message: reason.message },
    lastSyncedAt: isEarlier ? lastSyncedAt : syncedAt,
    progress: toProgress(event.progress),
    storage,
  };
}

/** As the application sees it. */
export function toProgress(progress: CoreProgress): Progress {
  const { rows, remaining, fraction } = progress;
  return { rows, remaining: remaining ?? null, fraction: fraction ?? null };
}
