/** Live results of local queries. */

import type { CoreResult, CoreValue } from "./core.js";
import { type Diff, align, allInserted, toDiff, together, unchanged } from "./diff.js";
import { TidewireError } from "./errors.js";
import type { Link } from "./link.js";
import { type Notices, type Unsubscribe, tell } from "./listeners.js";
import { type Row, toRow } from "./values.js";

/** How a query is watched. */
export interface WatchOptions {
  /**
   * The columns of the result by whose values a row is known, so that it is told as updated when others change.
   * Without any that is the primary key, where the query reads one table and gives the columns of its key; else rows
   * are compared as wholes. Where a column is not in the result, or two rows have the same values in them, the result
   * has an error, and the rows before.
   */
  key?: readonly string[] | undefined;
  /**
   * Whether it goes on while nobody sees the page, for instance for a number in its title. Without it, a page that is
   * not seen has the first result, and further ones when it is seen again.
   */
  whileHidden?: boolean | undefined;
}

/**
 * How fresh a result is: `loading` (not all that it stands on has come yet, and no row is here), `cached` (the same,
 * and some rows are here), `live` (all is here, and changes come as they happen), `behind` (all was here, as of some
 * time ago). What is `live` or `behind` may be empty.
 */
export type ResultState = CoreResult["state"];

/** What a watched query gives now. */
export interface WatchResult<R extends object = Row> {
  /**
   * Its rows; those before where there is an error. A row that is equal to one of the result before is the same
   * object, and when all are, the array is the same, too. So do not change them.
   */
  readonly rows: readonly R[];
  readonly state: ResultState;
  /** What is wrong with the query, if something is. */
  readonly error: TidewireError | null;
  /** What is new in the rows, against the result that this consumer was given before. */
  readonly diff: Diff;
}

/** Who is given results. */
interface Consumer<R extends object> {
  /** What it was given last. */
  seen: WatchResult<R> | undefined;
  /** What is new since, in so far as it was not given. */
  missed: Diff | undefined;
  given(): void;
  ended(): void;
}

/**
 * A query that is run again whenever its result may be another one: see {@link TidewireClient.watch}.
 *
 * It runs as long as somebody is given results, by {@link Watch.onResult} or a `for await` loop, and begins again
 * with the next one. When the client cannot go on, everybody is given a last result that says why, with the rows
 * before, also who comes later; loops end then.
 */
export class Watch<R extends object = Row> implements AsyncIterable<WatchResult<R>> {
  readonly #link: Link;
  readonly #registry: Map<string, Watch<never>>;
  readonly #newHandle: () => string;
  readonly #query: { sql: string; params: CoreValue[]; key: string[] | undefined };
  readonly #isForHidden: boolean;
  readonly #consumers = new Set<Consumer<R>>();
  #handle: string | undefined;
  #result: WatchResult<R> | undefined;
  /** The rows that the worker has told last: the next result builds on them. */
  #base: readonly R[] = [];
  /** The worker knows nothing yet of the rows that are shown. */
  #isAnew = false;
  #isClosed = false;
  /** Nobody sees the page, and the core does not run it. */
  #isResting = false;

  /** @internal */
  constructor(
    link: Link,
    registry: Map<string, Watch<never>>,
    newHandle: () => string,
    sql: string,
    params: CoreValue[],
    options: WatchOptions,
  ) {
    this.#link = link;
    this.#registry = registry;
    this.#newHandle = newHandle;
    this.#query = { sql, params, key: options.key && [...options.key] };
    this.#isForHidden = options.whileHidden ?? false;
  }

  /** The latest result, while it runs. */
  get result(): WatchResult<R> | undefined {
    return this.#result;
  }

  /** Calls back with the result that is there, and with each further one. */
  onResult(callback: (result: WatchResult<R>) => void): Unsubscribe {
    let isWanted = true;
    const consumer: Consumer<R> = {
      seen: undefined,
      missed: undefined,
      given: () => {
        const result = isWanted && this.#next(consumer);
        if (result) callback(result);
      },
      ended: () => undefined,
    };
    this.#join(consumer);
    // Not before this has returned, so that the caller has what ends it.
    if (this.#result) queueMicrotask(() => consumer.given());
    return () => {
      isWanted = false;
      this.#leave(consumer);
    };
  }

  /** Whoever is slow gets the latest result, with all that is new since the one before. To leave the loop ends it. */
  [Symbol.asyncIterator](): AsyncIterator<WatchResult<R>, undefined> {
    let wake: (() => void) | undefined;
    let isOver = false;
    let hasLeft = false;
    // The end of what was asked last: who asks twice at once is given one after the other.
    let last: Promise<unknown> = Promise.resolve();
    const consumer: Consumer<R> = {
      seen: undefined,
      missed: undefined,
      given: () => wake?.(),
      ended: () => {
        isOver = true;
        wake?.();
      },
    };
    this.#join(consumer);
    const next = async (): Promise<IteratorResult<WatchResult<R>, undefined>> => {
      for (;;) {
        const value = hasLeft ? undefined : this.#next(consumer);
        if (value) return { done: false, value };
        if (hasLeft || isOver) return { done: true, value: undefined };
        await new Promise<void>((resolve) => (wake = resolve));
      }
    };
    return {
      next: () => {
        const result = last.then(next);
        last = result;
        return result;
      },
      return: async () => {
        hasLeft = true;
        wake?.();
        this.#leave(consumer);
        return { done: true, value: undefined };
      },
    };
  }

  /** Ends it: nobody is given anything more, and loops end. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stop();
    this.#result = undefined;
    for (const consumer of this.#consumers) consumer.ended();
    this.#consumers.clear();
  }

  /** @internal The core is open, and does not know it. */
  setUp(): void {
    this.#isResting = this.#result !== undefined && this.#mayRest;
    if (this.#isResting) return;
    this.#base = [];
    this.#isAnew = this.#result !== undefined;
    const { sql, params, key } = this.#query;
    const handle = this.#handle as string;
    this.#link.call("watch", handle, sql, params, ...(key ? [key] : [])).catch((error: TidewireError) => {
      // When the worker has ended it is set up again.
      if (handle !== this.#handle || !this.#link.isOpen) return;
      const notices: Notices = [];
      this.#take(this.#failed(error), notices);
      tell(notices);
    });
  }

  /** @internal Whether somebody sees the page is another now. */
  see(): void {
    if (!this.#mayRest) {
      if (this.#isResting && this.#link.isOpen) this.setUp();
      return;
    }
    if (this.#isResting || !this.#result || this.#handle === undefined) return;
    this.#isResting = true;
    if (this.#link.isOpen) this.#link.tell("unwatch", this.#handle);
    // What is still told of this one is not of the next.
    this.#register();
  }

  /** @internal The worker has ended: what is shown is as of now. */
  down(notices: Notices): void {
    const shown = this.#result;
    if (shown?.state === "live") this.#take({ ...shown, state: "behind", diff: unchanged(shown.diff.key) }, notices);
  }

  /** @internal There will be no worker any more: whoever is given results has to know. */
  end(error: TidewireError, notices: Notices): void {
    this.#take(this.#failed(error), notices);
    if (this.#handle !== undefined) this.#registry.delete(this.#handle);
    this.#handle = undefined;
    notices.push(() => {
      for (const consumer of this.#consumers) consumer.ended();
      this.#consumers.clear();
    });
  }

  /** @internal What the core says. */
  apply(told: CoreResult, notices: Notices): void {
    const { state } = told;
    const error = told.error && TidewireError.from(told.error);
    const shown = this.#result;
    let rows = this.#rows(told, this.#base);
    let diff = toDiff(told);
    if (this.#isAnew && shown) {
      // Another worker has begun from nothing, and the consumers have not.
      if (error) ({ rows, diff } = { rows: shown.rows, diff: unchanged(shown.diff.key) });
      else ({ rows, diff } = align(diff.key, shown.rows, rows));
    }
    // With an error the worker still has what it had.
    if (!error) [this.#base, this.#isAnew] = [rows, false];
    this.#take({ rows, state, error, diff }, notices);
    this.see();
  }

  get #mayRest(): boolean {
    return !this.#isForHidden && !this.#link.isVisible;
  }

  #register(): void {
    if (this.#handle !== undefined) this.#registry.delete(this.#handle);
    this.#handle = this.#newHandle();
    this.#registry.set(this.#handle, this as unknown as Watch<never>);
  }

  /** What is shown when there is no other result any more. */
  #failed(error: TidewireError): WatchResult<R> {
    const { rows, state, diff } = this.#result ?? { rows: [], state: "loading", diff: unchanged([]) };
    return { rows, state: state === "live" ? "behind" : state, error, diff: unchanged(diff.key) };
  }

  #rows({ columns, order, fresh }: CoreResult, before: readonly R[]): readonly R[] {
    let isSame = order.length === before.length;
    let next = 0;
    const rows: R[] = [];
    order.forEach((place, at) => {
      isSame &&= place === at;
      if (place >= 0) {
        rows.push(before[place] as R);
        return;
      }
      rows.push(toRow<R>(columns, fresh[next] as unknown[]));
      next += 1;
    });
    return isSame ? before : rows;
  }

  #take(result: WatchResult<R>, notices: Notices): void {
    const before = this.#result?.rows.length ?? 0;
    for (const consumer of this.#consumers) {
      const { seen, missed } = consumer;
      if (!seen) {
        // It is given all at once, whatever it has missed.
      } else if (missed) {
        consumer.missed = together(missed, result.diff, seen.rows.length, before, result.rows.length);
      } else {
        consumer.missed = result.diff;
      }
      notices.push(() => {
        if (this.#consumers.has(consumer)) consumer.given();
      });
    }
    this.#result = result;
  }

  /** What a consumer is given, if there is something that it was not. */
  #next(consumer: Consumer<R>): WatchResult<R> | undefined {
    const latest = this.#result;
    if (!latest || (consumer.seen && !consumer.missed)) return undefined;
    const diff = consumer.missed ?? allInserted(latest.diff.key, latest.rows.length);
    const result = { ...latest, diff };
    consumer.seen = result;
    consumer.missed = undefined;
    return result;
  }

  #join(consumer: Consumer<R>): void {
    const { ended, isClosed } = this.#link;
    if (this.#isClosed || ended) {
      if (ended && !isClosed && !this.#isClosed) this.#result ??= this.#failed(ended);
      consumer.ended();
      return;
    }
    this.#consumers.add(consumer);
    if (this.#handle !== undefined) return;
    this.#register();
    if (this.#link.isOpen) this.setUp();
  }

  #leave(consumer: Consumer<R>): void {
    if (this.#consumers.delete(consumer) && this.#consumers.size === 0) this.#stop();
  }

  #stop(): void {
    if (this.#handle === undefined) return;
    if (this.#link.isOpen && !this.#isResting) this.#link.tell("unwatch", this.#handle);
    this.#isResting = false;
    this.#registry.delete(this.#handle);
    this.#handle = undefined;
    this.#result = undefined;
    this.#base = [];
  }
}
