/**
 * What components show of a client: each thing once, for all that show it.
 *
 * ```text
 *            join ┌────────┐ all have left
 *       ┌────────▶│ shown  │───────────────┐
 *       │         └────────┘◀──────┐       ▼
 *  (not there)                join │  ┌─────────┐  after a while
 *       │         ┌────────┐       └──│ lingers │────────────────▶ (not there)
 *       └────────▶│  held  │─── join  └─────────┘
 *            hold └────────┘─────────── after a while ───────────▶ (not there)
 * ```
 *
 * Nothing begins while a component is rendered, except for one that is suspended until there is something: it is held
 * for that, since a component that is suspended and given up tells nobody.
 */

import type { TidewireClient } from "@tidewire/client";
import { useCallback, useSyncExternalStore } from "react";

/**
 * How long it goes on when nobody shows it any more, in milliseconds: for the component that takes the place of another
 * one, and for StrictMode, which takes each away and puts it back.
 */
const LINGER_MS = 100;

/**
 * How long it goes on for a component that is suspended, in milliseconds. That is rendered again then, and holds it
 * again; where it has been given up, this is the end.
 */
const HOLD_MS = 10_000;

/** Something of a client that components show. */
export interface Source<T> {
  /** Those that have it in common are the same. */
  readonly key: string;
  /** What is shown before anything is known, and on a server. */
  readonly first: T;
  /** Begins it: `show` is called with each further value. What it returns ends it. */
  open(client: TidewireClient, show: (value: T) => void): () => void;
}

const all = new WeakMap<TidewireClient, Map<string, Shared<unknown>>>();

/** A source that is open. */
export class Shared<T> {
  /** With what it was given to components that suspend: they do not suspend again for the same. */
  readonly given = new Set<string>();
  readonly #onEnd: () => void;
  readonly #listeners = new Set<() => void>();
  #value: T;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #change: { readonly promise: Promise<void>; resolve(): void } | undefined;

  constructor(client: TidewireClient, source: Source<T>, onEnd: () => void) {
    this.#value = source.first;
    const close = source.open(client, (value) => this.#show(value));
    this.#onEnd = () => {
      onEnd();
      close();
    };
  }

  /** What it is now. The same object as long as nothing has changed. */
  get value(): T {
    return this.#value;
  }

  /** Goes on until what is returned is called, and for a while after that. */
  join(listener: () => void): () => void {
    clearTimeout(this.#timer);
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      this.linger();
    };
  }

  /** Goes on for a component that is being rendered. Resolves when that is to be rendered again. */
  hold(): Promise<void> {
    this.#endIn(HOLD_MS);
    if (!this.#change) {
      let resolve = (): void => undefined;
      const promise = new Promise<void>((done) => (resolve = done));
      this.#change = { promise, resolve };
    }
    return this.#change.promise;
  }

  /** Ends soon, unless somebody shows it. */
  linger(): void {
    this.#endIn(LINGER_MS);
  }

  #show(value: T): void {
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
    this.#wake();
  }

  #endIn(pause: number): void {
    if (this.#listeners.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#onEnd();
      this.#wake();
    }, pause);
    // In Node, where pages are rendered, it does not keep the process.
    (this.#timer as { unref?: () => void }).unref?.();
  }

  #wake(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }
}

/** The open source of that key. Begins it where there is none. */
export function open<T>(client: TidewireClient, source: Source<T>): Shared<T> {
  let ofClient = all.get(client);
  if (!ofClient) all.set(client, (ofClient = new Map()));
  const known = ofClient.get(source.key) as Shared<T> | undefined;
  if (known) return known;
  const made = new Shared(client, source, () => ofClient.delete(source.key));
  ofClient.set(source.key, made);
  return made;
}

/** What it is now. Begins nothing, so it may be asked in every render. */
function look<T>(client: TidewireClient | null, { key, first }: Source<T>): T {
  const known = client && (all.get(client)?.get(key) as Shared<T> | undefined);
  return known ? known.value : first;
}

/**
 * Shows a source, from the first render on: another one is never shown with a value of the one before. A source must be
 * the same object as long as it has the same key.
 */
export function useShared<T>(client: TidewireClient | null, source: Source<T>): T {
  const join = useCallback(
    (listener: () => void) => (client ? open(client, source).join(listener) : () => undefined),
    [client, source],
  );
  return useSyncExternalStore(
    join,
    () => look(client, source),
    () => source.first,
  );
}
