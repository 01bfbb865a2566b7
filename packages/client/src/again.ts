/** What the core cannot do for now. */

import type { ErrorCode, TidewireError } from "./errors.js";
import type { Link } from "./link.js";

/** It is suspended, has no room, or cannot use its file: all of that ends some time. */
const FOR_NOW = new Set<ErrorCode>(["cancelled", "quota", "internal", "leader_changed"]);

/** What comes of a question. */
export interface Answered<T> {
  done(value: T): void;
  /** `isLater`: it is asked again by itself. */
  failed(error: TidewireError, isLater: boolean): void;
}

/** Asks the core, and asks again what it could not do for now. */
export class Again {
  readonly #link: Link;
  readonly #waiting = new Set<() => void>();
  /** How often all were asked again. */
  #times = 0;

  constructor(link: Link) {
    this.#link = link;
  }

  /** Asks. Nothing is said when the worker has ended meanwhile: whoever wants to know asks the next one. */
  ask<T>(ask: () => Promise<T>, { done, failed }: Answered<T>): void {
    const [generation, times] = [this.#link.generation, this.#times];
    const isLost = (): boolean => generation !== this.#link.generation;
    ask().then(
      (value) => {
        if (!isLost()) done(value);
      },
      (error: TidewireError) => {
        if (isLost()) return;
        const isLater = FOR_NOW.has(error.code);
        failed(error, isLater);
        if (!isLater) return;
        const again = (): void => this.ask(ask, { done, failed });
        // It may have become possible while the answer was on its way.
        if (times === this.#times) this.#waiting.add(again);
        else again();
      },
    );
  }

  /** It may be possible now. */
  again(): void {
    this.#times += 1;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const ask of waiting) ask();
  }

  /** There is another worker, or none: what was asked of the one before is asked anew, or not at all. */
  forget(): void {
    this.#waiting.clear();
  }
}
