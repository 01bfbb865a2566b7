/** What goes wrong in a worker, as it is posted. */

import type { CoreError } from "../core.js";

/** Whether the WebAssembly has ended in the middle of something. It is not safe to use it again. */
export function isTrap(error: unknown): error is WebAssembly.RuntimeError {
  return error instanceof WebAssembly.RuntimeError;
}

/** What can be posted, whatever was thrown. */
export function plain(error: unknown): CoreError {
  if (typeof error === "object" && error !== null && "code" in error && "message" in error) {
    const { code, message, documentation, retryAfterMs } = error as CoreError;
    if (typeof code === "string" && typeof documentation === "string") {
      return { code, message, documentation, retryAfterMs };
    }
  }
  return failure("internal", error instanceof Error ? error.message : String(error));
}

/** Why something is not done. */
export function failure(code: string, message: string): CoreError {
  return { code, message, documentation: `docs/ERRORS.md#${code}`, retryAfterMs: null };
}
