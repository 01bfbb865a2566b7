/**
 * What page and worker say to each other.
 *
 * ```text
 * page                        worker
 *   open ────────────────────▶  compiled WebAssembly, configuration
 *        ◀──────────────────── opened, or refused: the worker is of no more use
 *   call ────────────────────▶
 *        ◀──────────────────── done or failed, by the number of the call
 *        ◀──────────────────── events: everything that one step has changed
 *        ◀──────────────────── token ──▶ answered by token or no_token, by its number
 *        ◀──────────────────── fatal: the WebAssembly has trapped, nothing is answered any more
 * ```
 */

import type { CoreConfig, CoreError, CoreEvent, LogLevel } from "./core.js";

/** A compiled `WebAssembly.Module`. It is not named, since what names this is seen by applications without the DOM. */
export type Program = object;

export type ToWorker =
  | { type: "open"; module: Program; config: CoreConfig; isLogged: boolean }
  | { type: "call"; id: number; op: string; args: unknown[] }
  | { type: "token"; id: number; token: string }
  | { type: "no_token"; id: number; message: string };

export type FromWorker =
  | { type: "opened" }
  | { type: "refused"; error: CoreError }
  | { type: "done"; id: number; value: unknown }
  | { type: "failed"; id: number; error: CoreError }
  | { type: "events"; events: CoreEvent[] }
  | { type: "token"; id: number }
  | { type: "log"; level: LogLevel; line: string }
  | { type: "fatal"; message: string };
