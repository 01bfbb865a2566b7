/** What is kept in step with the server. */

import type { Again } from "./again.js";
import type { CoreSubscribeOptions, CoreSubscriptionView, CoreValue } from "./core.js";
import { TidewireError, invalid } from "./errors.js";
import type { Link } from "./link.js";
import { type Notices, Listeners, type Unsubscribe, tell } from "./listeners.js";
import { type Progress, toProgress } from "./status.js";

/** How something is subscribed to. */
export interface SubscribeOptions {
  /** Only the last born rows, so many of them; all without. */
  fetchLast?: number | undefined;
  /** Most rows of one batch of the load; as the server likes without. */
  batchRows?: number | undefined;
  /**
   * How long it is kept when nobody asks for it any more, in milliseconds: 7 days without. Only time in which the
   * client runs counts. Where several ask for the same, the longest counts.
   */
  ttl?: number | undefined;
}

/**
 * How it is with a subscription: `loading`, `live`, `behind` (all was here, as of some time ago), `idle` (it was
 * released or ended), `refused`.
 */
export type SubscriptionState = CoreSubscriptionView["state"];

/**
 * A live query that the replica is kept in step with: see {@link TidewireClient.subscribe}. It goes on for a while
 * when it is released, and when the page is closed and opened again: see {@link SubscribeOptions.ttl}.
 */
export class Subscription {
  /** @internal */
  readonly handle: string;
  readonly #link: Link;
  readonly #again: Again;
  readonly #registry: Map<string, Subscription>;
  readonly #request: { sql: string; params: CoreValue[]; options: CoreSubscribeOptions };
  readonly #listeners = new Listeners<Subscription>();
  readonly #waiting = new Set<{ resolve(): void; reject(error: TidewireError): void }>();
  #state: SubscriptionState = "loading";
  #progress: Progress = { rows: 0, remaining: null, fraction: null };
  #error: TidewireError | null = null;
  #isOver = false;
  /** By how many rows it was made wider; and of those, by how many without whoever has the replica. */
  #older = 0;
  #olderAside = 0;
  /** Something was told since it was set up, which is newer than the answer to that. */
  #isTold = false;

  /** @internal */
  constructor(
    link: Link,
    again: Again,
    registry: Map<string, Subscription>,
    handle: string,
    sql: string,
    params: CoreValue[],
    options: SubscribeOptions,
  ) {
    const { fetchLast, batchRows, ttl } = options;
    const asked: CoreSubscribeOptions = {};
    if (fetchLast !== undefined) asked.fetchLast = fetchLast;
    if (batchRows !== undefined) asked.batchRows = batchRows;
    if (ttl !== undefined) asked.ttlMs = ttl;
    this.#link = link;
    this.#again = again;
    this.#registry = registry;
    this.handle = handle;
    this.#request = { sql, params, options: asked };
    if (link.ended) {
      this.#error = link.ended;
      this.#state = "idle";
      this.#isOver = true;
      return;
    }
    registry.set(handle, this);
    if (link.isOpen) this.setUp();
  }

  /** How it is now. */
  get state(): SubscriptionState {
    return this.#state;
  }

  /** How far its load is. */
  get progress(): Progress {
    return this.#progress;
  }

  /** Why it is refused, if it is; or why it cannot begin for now, which is tried again by itself. */
  get error(): TidewireError | null {
    return this.#error;
  }

  /**
   * Waits until all rows that it wants are here. Offline that is at once when they were before.
   *
   * Rejects with why it is refused, and with `cancelled` when it is released or ended meanwhile.
   */
  ready(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.add({ resolve, reject });
      const notices: Notices = [];
      this.#settle(notices);
      tell(notices);
    });
  }

  /** Calls back whenever state, progress or error are others. */
  onChange(callback: (subscription: Subscription) => void): Unsubscribe {
    return this.#listeners.add(callback);
  }

  /** Makes its window wider by so many older rows. They come when the server sends them. */
  loadOlder(rows: number): void {
    this.#check();
    if (!Number.isSafeInteger(rows) || rows < 0) {
      throw invalid(`the number of rows is a whole number from 0 on, not ${rows}`);
    }
    this.#older += rows;
    this.#olderAside += rows;
    if (this.#link.isStandIn) this.#link.tell("loadOlder", this.handle, rows);
    else if (this.#link.isOpen) this.#askOlder();
  }

  /** Loads it anew. Its rows stay until the new ones are here; nothing else is touched. */
  reset(): void {
    this.#check();
    this.#link.tell("reset", this.handle);
  }

  /**
   * Compares what is here with what the server has, both as of the same moment. What is different is loaded anew
   * by itself. It waits until the subscription is live and has all its rows, so offline it waits for a connection.
   * `unknown`: rows that expire are not compared.
   */
  async verify(): Promise<"same" | "different" | "unknown"> {
    this.#check();
    const { verdict } = await this.#link.call("verify", this.handle);
    return verdict;
  }

  /** This page does not ask for it any more. It is kept for its ttl, and stays up to date meanwhile. */
  release(): void {
    if (this.#isOver) return;
    if (this.#link.isOpen) this.#link.tell("release", this.handle);
    this.#leaveNow("the subscription was released");
  }

  /** Ends it. Its rows leave the device, but for those that another subscription has. */
  unsubscribe(): void {
    if (this.#isOver) return;
    const { sql, params, options } = this.#request;
    this.#link.tell("unsubscribe", this.handle, sql, params, options);
    this.#leaveNow("the subscription was ended");
  }

  /** @internal The core is open, and does not know it. */
  setUp(): void {
    this.#again.ask(() => this.#ask(), {
      done: (view) => {
        if (view && !this.#isTold) this.#told(view);
      },
      failed: (error, isLater) => {
        const state = isLater ? this.#state : "refused";
        this.#told({ state, progress: this.#progress, error: null }, error);
      },
    });
  }

  /** Nothing is asked when nobody wants it any more. */
  async #ask(): Promise<CoreSubscriptionView | undefined> {
    if (this.#isOver) return undefined;
    const { sql, params, options } = this.#request;
    const { fetchLast } = options;
    this.#isTold = false;
    if (this.#link.isStandIn) {
      // It has not seen how it was made wider.
      const wider = fetchLast === undefined ? options : { ...options, fetchLast: fetchLast + this.#older };
      return await this.#link.call("subscribe", this.handle, sql, params, wider);
    }
    const view = await this.#link.call("subscribe", this.handle, sql, params, options);
    if (this.#olderAside > 0) this.#askOlder();
    return view;
  }

  #askOlder(): void {
    const rows = this.#olderAside;
    this.#olderAside = 0;
    this.#link.call("loadOlder", this.handle, rows).catch(() => (this.#olderAside += rows));
  }

  /** @internal Is fulfilled when the core that is open has its rows, or says why not. */
  hasRows(): Promise<void> {
    const isDone = (): boolean => this.#isOver || (this.#isTold && this.#state !== "loading");
    return new Promise((resolve) => {
      if (isDone()) return resolve();
      const leave = this.#listeners.add(() => {
        if (!isDone()) return;
        leave();
        resolve();
      });
    });
  }

  /** @internal What the core says. */
  apply(view: CoreSubscriptionView, notices: Notices, error?: TidewireError): void {
    if (this.#isOver) return;
    if (view.state === "idle") {
      // Whoever else had it has ended it.
      this.#leave("the subscription was ended", notices);
      return;
    }
    this.#isTold = true;
    this.#state = view.state;
    this.#progress = toProgress(view.progress);
    this.#error = error ?? (view.error && TidewireError.from(view.error));
    this.#settle(notices);
    this.#listeners.notify(this, notices);
  }

  /** @internal The worker has ended: what was here is as of now. */
  down(notices: Notices): void {
    if (this.#state !== "live") return;
    this.#state = "behind";
    this.#listeners.notify(this, notices);
  }

  /** @internal There will be nothing more. */
  end(error: TidewireError, notices: Notices): void {
    this.#error = error;
    this.#leave(error.message, notices, error);
  }

  #told(view: CoreSubscriptionView, error?: TidewireError): void {
    const notices: Notices = [];
    this.apply(view, notices, error);
    tell(notices);
  }

  #settle(notices: Notices): void {
    const error =
      this.#state === "refused"
        ? (this.#error ?? new TidewireError("unknown", "the server refuses the subscription"))
        : this.#state === "idle"
          ? (this.#error ?? new TidewireError("cancelled", "the subscription was released or ended: subscribe again"))
          : null;
    if (!error && this.#state === "loading") return;
    for (const { resolve, reject } of this.#waiting) notices.push(error ? () => reject(error) : resolve);
    this.#waiting.clear();
  }

  #leaveNow(why: string): void {
    const notices: Notices = [];
    this.#leave(why, notices);
    tell(notices);
  }

  #leave(why: string, notices: Notices, error = new TidewireError("cancelled", `${why}: subscribe again`)): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#registry.delete(this.handle);
    this.#state = "idle";
    for (const { reject } of this.#waiting) notices.push(() => reject(error));
    this.#waiting.clear();
    this.#listeners.notify(this, notices);
    notices.push(() => this.#listeners.clear());
  }

  #check(): void {
    if (this.#isOver) throw invalid("the subscription was released or ended: subscribe again");
  }
}
