/** What can go wrong. */

import type { CoreError } from "./core.js";

/**
 * What to match on: it never changes. `docs/ERRORS.md` explains each.
 * A code that this version does not know is `unknown`.
 */
export type ErrorCode = (typeof CODES)[number];

const CODES = [
  "offline",
  "timeout",
  "needs_auth",
  "forbidden",
  "not_found",
  "already_exists",
  "invalid_request",
  "unsupported",
  "constraint",
  "conflict",
  "schema_mismatch",
  "update_required",
  "too_large",
  "quota",
  "overloaded",
  "stalled",
  "leader_changed",
  "cancelled",
  "internal",
  "unknown",
] as const;

/** Why something was not done. `message` is a sentence for people; match on `code`. */
export class TidewireError extends Error {
  override readonly name = "TidewireError";

  constructor(
    /** What to match on. */
    readonly code: ErrorCode,
    message: string,
    /** Where the code is explained. */
    readonly documentation: string = `docs/ERRORS.md#${code}`,
    /** When to ask again, in milliseconds from now, where the server has said so. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }

  /** @internal From what came out of the worker. */
  static from(error: CoreError): TidewireError {
    const { message, documentation, retryAfterMs } = error;
    return new TidewireError(codeOf(error.code), message, documentation, retryAfterMs ?? null);
  }
}

/** The code, if this version knows it. */
export function codeOf(text: string): ErrorCode {
  return CODES.find((code) => code === text) ?? "unknown";
}

/** An argument that cannot be. */
export function invalid(message: string): TidewireError {
  return new TidewireError("invalid_request", message);
}

/** Any thrown value as a sentence. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
