/**
 * Stands in for a leader that does not answer: a worker that has a replica of its own for all pages, until the leader
 * answers or is gone. It waits for a lock, so that there is one of them; and it never has what the leader has.
 *
 * ```text
 * want ── the lock is given ─▶ leading ── end ─▶ over
 * ```
 */

import { STANDING_IN } from "./channel.js";
import type { Leading } from "./leading.js";

export class Standing {
  readonly #locks: LockManager;
  readonly #begin: () => Leading;
  readonly #wanting = new AbortController();
  #leading: Leading | undefined;
  #release: (() => void) | undefined;
  #ended: Promise<void> | undefined;

  /** Waits for the lock; `begin` is called when it is given. */
  constructor(locks: LockManager, begin: () => Leading) {
    this.#locks = locks;
    this.#begin = begin;
    const held = this.#locks.request(STANDING_IN, { signal: this.#wanting.signal }, () => this.#stand());
    // It is not wanted any more.
    held.catch(() => undefined);
  }

  /** What it has, while it stands in. */
  get leading(): Leading | undefined {
    return this.#leading;
  }

  /** Nobody needs it any more. Done when another one could begin. */
  end(letGo: (leading: Leading) => Promise<void>): Promise<void> {
    this.#ended ??= this.#end(letGo);
    return this.#ended;
  }

  async #end(letGo: (leading: Leading) => Promise<void>): Promise<void> {
    this.#wanting.abort();
    const leading = this.#leading;
    if (leading) await letGo(leading);
    this.#leading = undefined;
    this.#release?.();
  }

  #stand(): Promise<void> | undefined {
    if (this.#wanting.signal.aborted) return undefined;
    this.#leading = this.#begin();
    return new Promise((resolve) => (this.#release = resolve));
  }
}
