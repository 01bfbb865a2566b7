/** Callbacks of the application. */

/** Ends what it was returned for. Calling it again does nothing. */
export type Unsubscribe = () => void;

/** What is to be called when everything of a step is applied. */
export type Notices = (() => void)[];

/** Who wants to be told of something. */
export class Listeners<T> {
  readonly #callbacks = new Set<{ call: (told: T) => void }>();

  get isEmpty(): boolean {
    return this.#callbacks.size === 0;
  }

  /** The same function may be added twice; each is removed by itself. */
  add(call: (told: T) => void): Unsubscribe {
    const entry = { call };
    this.#callbacks.add(entry);
    return () => void this.#callbacks.delete(entry);
  }

  /** Notes that all are to be told. Who has left by then is not. */
  notify(told: T, notices: Notices): void {
    for (const entry of this.#callbacks) {
      notices.push(() => {
        if (this.#callbacks.has(entry)) entry.call(told);
      });
    }
  }

  clear(): void {
    this.#callbacks.clear();
  }
}

/** Tells them, one after the other. */
export function tell(notices: Notices): void {
  for (const notice of notices) {
    try {
      notice();
    } catch (error) {
      // What an application throws is its own, and keeps nobody else from being told.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
