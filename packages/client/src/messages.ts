/**
 * What page and worker say to each other. A worker that does not have the replica itself says the same to the worker
 * of the page that has it.
 *
 * ```text
 * page                        worker
 *   open ────────────────────▶  compiled WebAssembly, configuration
 *        ◀──────────────────── opened, or refused: the worker is of no more use
 *   call ────────────────────▶
 *        ◀──────────────────── done or failed, by the number of the call
 *        ◀──────────────────── events: everything that one step has changed
 *        ◀──────────────────── token ──▶ answered by token or no_token, by its number
 *        ◀──────────────────── lost: who had the replica has gone; opened comes again, and then the calls are repeated
 *        ◀──────────────────── fatal: the WebAssembly has trapped, nothing is answered any more
 * ```
 */

import type { Core, CoreConfig, CoreError, CoreEvent, CoreSubscribeOptions, CoreValue, LogLevel } from "./core.js";
import type { StorageStatus } from "./status.js";

/** A compiled `WebAssembly.Module`. It is not named, since what names this is seen by applications without the DOM. */
export type Program = object;

/** That the application wants no connection, or nothing to be open, within so many milliseconds. */
export type Rest = "paused" | { readonly within: number } | null;

/** What a page calls: the core, which it may share with other pages. */
export interface Calls extends Omit<Core, "unsubscribe" | "keepRequests"> {
  /** Ends a subscription, also one that this page has not asked the worker for. */
  unsubscribe(handle: string, sql: string, params: CoreValue[], options: CoreSubscribeOptions): void;
}

/** How a page wants its replica opened. */
export interface Opening {
  /** By which the requests of the page are known. */
  readonly client: string;
  readonly config: CoreConfig;
  readonly isLogged: boolean;
  readonly isVisible: boolean;
  /** What the page knew when it asked. Where other pages have it open already, what they want goes on. */
  readonly rest: Rest;
}

/** What goes on to whoever has the replica. */
export type ToHost =
  | { type: "call"; id: number; op: string; args: unknown[] }
  | { type: "token"; id: number; token: string }
  | { type: "no_token"; id: number; message: string };

export type ToWorker =
  | { type: "open"; module: Program; opening: Opening }
  /** `losses`: how often the page was told that it is lost. What it has called before that it calls again. */
  | (ToHost & { losses: number })
  | { type: "rest"; rest: Rest }
  | { type: "visible"; isVisible: boolean };

/** What a core tells by itself, and what is told of other pages. */
export type PageEvent = CoreEvent | { type: "rest"; rest: Rest };

export type FromWorker =
  | { type: "opened"; rest: Rest; storage: Exclude<StorageStatus["kind"], "none"> }
  /** It has this lock for as long as it lives. */
  | { type: "present"; lock: string }
  | { type: "refused"; error: CoreError }
  /**
   * Nobody serves the page, for a moment; or for longer, and why. `isTrap`: what it has called may be the reason. A
   * stand-in has done nothing then that it has not answered.
   */
  | { type: "lost"; isTrap: boolean; why: CoreError | null }
  /** Another page has ended the client: it has signed out, or needs another version of this one. */
  | { type: "ended"; error: CoreError }
  | { type: "done"; id: number; value: unknown }
  | { type: "failed"; id: number; error: CoreError }
  | { type: "events"; events: PageEvent[] }
  | { type: "token"; id: number }
  | { type: "log"; level: LogLevel; line: string }
  | { type: "fatal"; message: string };
