/** A value that is kept in the browser and that components can follow. */

import { useSyncExternalStore } from "react";

/** Who follows a value. */
export class Store<T> {
  #value: T;
  readonly #followers = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const follower of [...this.#followers]) follower();
  }

  readonly follow = (follower: () => void): (() => void) => {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  };

  readonly get = (): T => this.#value;
}

/** The value, and whatever it becomes. */
export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.follow, store.get);
}

/** What was kept under this name, if it can be read. */
export function recall(name: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(name) ?? "null");
  } catch {
    return null;
  }
}

/** Keeps it; `null` forgets it. A browser that keeps nothing still shows it until the page is closed. */
export function keep(name: string, value: unknown): void {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, JSON.stringify(value));
  } catch {
    // There is no room, or it is not allowed.
  }
}
