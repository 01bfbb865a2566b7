/** What applications call. */

import { Again } from "./again.js";
import type { CorePosition, CoreWrote } from "./core.js";
import { type TidewireError, invalid } from "./errors.js";
import { Link, type LinkUser } from "./link.js";
import { Listeners, type Notices, type Unsubscribe, tell } from "./listeners.js";
import type { PageEvent } from "./messages.js";
import { Fates, type Mutation, type WriteOptions } from "./mutation.js";
import { type ClientOptions, toConfig, tokenOf, warnsOnLeave } from "./options.js";
import { type Pending, Rejection, toPending } from "./rejection.js";
import { type AnyStatement, type Statement, toStatement, toWriteOptions } from "./statements.js";
import { FIRST_STATUS, type Incident, type Status, type StorageUse, toStatus } from "./status.js";
import { type SubscribeOptions, Subscription } from "./subscription.js";
import type { Surroundings } from "./surroundings.js";
import type { AnyTables, NameIn, TablesOf } from "./tables.js";
import { type Committed, type Transaction, transact } from "./transaction.js";
import { type Param, type Row, toParams, toRows, toText } from "./values.js";
import { Watch, type WatchOptions } from "./watch.js";

/** Where a lane was. Give it back to {@link TidewireClient.waitFor} as it came. */
export type Position = CorePosition;

/** What a server answers. */
export interface RemoteAnswer<R extends object = Row> {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly R[];
  /** How many rows were written; `null` of a statement that reads. */
  readonly rowsAffected: number | null;
  /** Where a write has ended, in each lane that it wrote. */
  readonly positions: readonly Position[];
}

/**
 * A local SQLite replica that is always there, online or not, and kept in step with a Tidewire server.
 *
 * It is opened in the background, in a worker of its own, and every call waits for that. Where it cannot be opened,
 * every call rejects with the reason. Each rejects with a {@link TidewireError}; all times are in milliseconds.
 *
 * `T` is the tables that the compiler knows: those that `tidewire-types` has written, or any.
 */
export class TidewireClient<T extends TablesOf<T> = AnyTables> {
  /** Is fulfilled when the replica can be read, and rejects with why it cannot be opened. Nobody has to wait for it. */
  readonly opened: Promise<void>;
  readonly #link: Link;
  readonly #again: Again;
  readonly #fates: Fates;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #watches = new Map<string, Watch<never>>();
  readonly #statuses = new Listeners<Status>();
  readonly #incidents = new Listeners<Incident>();
  readonly #rejected = new Listeners<readonly Rejection[]>();
  readonly #surroundings: Surroundings;
  readonly #stops: Unsubscribe[];
  readonly #options: ClientOptions;
  /** While the user is asked before the page is left. */
  #stopWarning: Unsubscribe | undefined;
  #status: Status = FIRST_STATUS;
  #lastHandle = 0;

  /** @internal */
  constructor(options: ClientOptions, surroundings: Surroundings, directory: string | null) {
    surroundings.check();
    let onOpened: () => void;
    let onEnded: (error: TidewireError) => void;
    this.opened = new Promise((resolve, reject) => ([onOpened, onEnded] = [resolve, reject]));
    // Whoever does not ask for it is told by every call.
    this.opened.catch(() => undefined);
    const user: LinkUser = {
      token: () => tokenOf(options),
      log: options.log,
      onOpened: () => this.#setUp(),
      onServed: ({ storage: kind }) => {
        const { isPersistent } = this.#status.storage;
        this.#show({ ...this.#status, storage: { kind, isPersistent } });
      },
      hasRows: () => Promise.all([...this.#subscriptions.values()].map((subscription) => subscription.hasRows())),
      onReady: (isAgain) => {
        this.#ready(isAgain);
        onOpened();
      },
      onEvents: (events) => this.#apply(events),
      onDown: (error) => this.#down(error),
      onEnded: (error, isClosed) => {
        onEnded(error);
        this.#ended(error, isClosed);
      },
    };
    this.#link = new Link(toConfig(options, directory), user, surroundings);
    this.#again = new Again(this.#link);
    this.#fates = new Fates(this.#link, this.#again, () => this.#warn());
    this.#options = options;
    this.#surroundings = surroundings;
    const wake = surroundings.onWake(() => this.#link.wake());
    this.#stops = [wake, surroundings.onPage((what) => this.#onPage(what))];
    this.#link.start();
  }

  /**
   * Says which rows come to this device. They stay there and stay up to date, also after a reload, until nobody has
   * asked for them for the `ttl`. Whoever asks for the same text again has the same ones. Throws `invalid_request` at
   * once for values that cannot be.
   */
  subscribe(sql: string, params?: readonly Param[], options: SubscribeOptions = {}): Subscription {
    const [text, values] = [toText(sql, "the SQL"), toParams(params)];
    return new Subscription(this.#link, this.#again, this.#subscriptions, this.#handle("s"), text, values, options);
  }

  /** Reads what is on the device, with any SQL of SQLite that reads. It never waits for the network. */
  async query<R extends object = Row>(sql: string, params?: readonly Param[]): Promise<R[]> {
    const { columns, rows } = await this.#link.call("query", toText(sql, "the SQL"), toParams(params));
    return toRows<R>(columns, rows);
  }

  /**
   * The same as a live result: what is there at once, and again whenever it is another one. All watches that one
   * step has changed are told together. It runs while somebody is given results. Throws `invalid_request` at once for
   * values that cannot be.
   */
  watch<R extends object = Row>(sql: string, params?: readonly Param[], options: WatchOptions = {}): Watch<R> {
    const [text, values] = [toText(sql, "the SQL"), toParams(params)];
    return new Watch<R>(this.#link, this.#watches, () => this.#handle("w"), text, values, options);
  }

  /** Writes, with any SQL of SQLite that writes. It is done when it is stored on this device. */
  execute(sql: string, params?: readonly Param[], options?: WriteOptions): Promise<Mutation> {
    return this.#write(() => [{ sql, params: params ?? [] }], options);
  }

  /** Inserts a row. Columns that are not named take their defaults. */
  insert<N extends NameIn<T>>(table: N, values: T[N]["insert"], options?: WriteOptions): Promise<Mutation> {
    return this.#write(() => [{ insert: table, values }], options);
  }

  /** Changes columns of a row, which need not be on this device. */
  update<N extends NameIn<T>>(
    table: N,
    key: T[N]["key"],
    set: Partial<T[N]["change"]>,
    options?: WriteOptions,
  ): Promise<Mutation> {
    return this.#write(() => [{ update: table, key, set }], options);
  }

  /** Deletes a row, which need not be on this device. */
  delete<N extends NameIn<T>>(table: N, key: T[N]["key"], options?: WriteOptions): Promise<Mutation> {
    return this.#write(() => [{ delete: table, key }], options);
  }

  // It stays behind `update`. The compiler compares two clients in the order of their methods, and at the `Partial`
  // there it learns to look at the tables themselves, by which one that knows its tables is taken for any.
  /** Several statements, all of them or none: one write, which is decided as a whole. */
  batch(statements: readonly Statement<T>[], options?: WriteOptions): Promise<Mutation> {
    return this.#write(() => statements, options);
  }

  /**
   * Several statements with code between them. What the function throws undoes all of it, and is thrown again. When
   * it cannot begin, or is over by itself, it rejects with the reason, and does not wait for the function.
   *
   * Nobody else writes meanwhile, so it has 5 seconds in all, and a quarter of one between two statements: then it is
   * undone, and rejects with `timeout`. What is slow goes before it. Use `tx` in it, and not the client, which waits
   * for its end.
   */
  transaction<V>(run: (tx: Transaction<T>) => Promise<V> | V, options: WriteOptions = {}): Promise<Committed<V>> {
    return transact(this.#link, this.#fates, this.#handle("t"), run, options);
  }

  /** What waits for the server. */
  async pending(): Promise<Pending> {
    return toPending(await this.#link.call("pending"));
  }

  /** Finds a write again, also after a reload; `undefined` of one that is decided and forgotten. */
  async mutation(id: number): Promise<Mutation | undefined> {
    let isKnown = true;
    const found = this.#link.call("mutation", id).then((wrote) => {
      isKnown = wrote !== undefined && wrote !== null;
      return wrote ?? NOTHING;
    });
    const mutation = await this.#fates.mutation(found, false);
    return isKnown ? mutation : undefined;
  }

  /** What was rejected, or is uncertain, and not dealt with. */
  async rejections(): Promise<readonly Rejection[]> {
    const kept = await this.#link.call("rejections");
    const onDealt = (): void => this.#tellRejections();
    return kept.map((rejection) => new Rejection(this.#link, this.#fates, rejection, onDealt));
  }

  /** Calls back with all that is kept: soon, also what is from before a reload, and whenever there are others. */
  onRejections(callback: (rejections: readonly Rejection[]) => void): Unsubscribe {
    const leave = this.#rejected.add(callback);
    this.#tellRejections();
    return leave;
  }

  /** How it is. */
  get status(): Status {
    return this.#status;
  }

  /** Calls back with each further status. */
  onStatus(callback: (status: Status) => void): Unsubscribe {
    return this.#statuses.add(callback);
  }

  /** Calls back when something has gone wrong and was mended. */
  onIncident(callback: (incident: Incident) => void): Unsubscribe {
    return this.#incidents.add(callback);
  }

  /**
   * Has the server run a statement, with its SQL. It needs a connection, and waits for an answer for `timeout`
   * milliseconds; a write that rejects with `timeout`, or because the worker has stopped, may have happened. BOOLEAN
   * is `true` or `false` in its rows.
   */
  async remote<R extends object = Row>(
    sql: string,
    params?: readonly Param[],
    options: { timeout?: number | undefined } = {},
  ): Promise<RemoteAnswer<R>> {
    const { timeout } = options;
    const given = timeout === undefined ? {} : { timeoutMs: timeout };
    const answer = await this.#link.call("remote", toText(sql, "the SQL"), toParams(params), given);
    const names = answer.columns.map(({ name }) => name);
    return { ...answer, rowsAffected: answer.rowsAffected ?? null, rows: toRows<R>(names, answer.rows) };
  }

  /** Waits until this device has come as far as a write by {@link TidewireClient.remote}, or another way, has. */
  waitFor(positions: readonly Position[]): Promise<void> {
    return this.#link.call("waitFor", [...positions]);
  }

  /**
   * Waits until all that was written before is decided, and all that the server had at the call is here. Rejects with
   * `timeout` after that many milliseconds, and says what is missing.
   */
  waitForSync({ timeout }: { timeout?: number | undefined } = {}): Promise<void> {
    return timeout === undefined ? this.#link.call("waitForSync") : this.#link.call("waitForSync", timeout);
  }

  /** Sends, catches up, and is then as it was before, within so many milliseconds: for a task in the background. */
  syncOnce(deadline: number): Promise<void> {
    return this.#link.call("syncOnce", deadline);
  }

  /** Ends the connection, of all pages of the site. Reading and writing go on. */
  pause(): void {
    this.#link.rest = "paused";
    this.#link.tell("pause");
  }

  /**
   * Lets go of the connection and of the replica within so many milliseconds; an open transaction is undone. Reading
   * and writing reject with `cancelled` until {@link TidewireClient.resume}; watches, subscriptions and whoever waits
   * stay, and what is subscribed to meanwhile begins then. {@link TidewireClient.status} is `paused`. Rejects with
   * `timeout` when it is not done by then: it goes on.
   */
  async suspend(deadline: number): Promise<void> {
    if (!(deadline >= 0)) throw invalid(`the deadline is a number of milliseconds, not ${deadline}`);
    this.#link.rest = { within: deadline };
    await this.#link.call("suspend", deadline);
  }

  /** Connects again, and has the replica again. */
  resume(): void {
    this.#link.rest = null;
    this.#link.tell("resume");
    this.#again.again();
  }

  /** How much room the replica takes, by table and by subscription, in bytes. */
  async storage(): Promise<StorageUse> {
    return await this.#link.call("storage");
  }

  /** Versions, states, cursors, sizes and times, without a row, a value, a user or a token: paste it into a report. */
  async diagnose(): Promise<Readonly<Record<string, unknown>>> {
    return (await this.#link.call("diagnose")) as Record<string, unknown>;
  }

  /**
   * Closes the client, and keeps the replica or removes its files.
   *
   * With `keep`, what waits or was rejected is there when the user comes back. `wipe` would lose it: then it rejects
   * with `conflict` and how many writes these are, and does nothing; `discardPending` gives them up. When the files
   * cannot be removed it rejects, too, and the client is closed: create it again, and sign out once more.
   */
  async signOut(data: "keep" | "wipe", options: { discardPending?: boolean | undefined } = {}): Promise<void> {
    const { discardPending = false } = options;
    let worker: number | undefined;
    const asked = (): void => void (worker = this.#link.generation);
    try {
      await this.#link.callIn(asked, "signOut", data, discardPending);
    } catch (error) {
      const { code } = error as TidewireError;
      // With these nothing was done, and a worker that has stopped has another one. With others the core has closed.
      if (code !== "conflict" && code !== "invalid_request" && worker === this.#link.generation) this.#link.end();
      throw error;
    }
    this.#link.end();
  }

  /** Closes the client. Everything that waits for it rejects. The replica stays. */
  close(): Promise<void> {
    return this.#link.close();
  }

  async #write(statements: () => readonly AnyStatement[], options: WriteOptions = {}): Promise<Mutation> {
    const made = statements().map(toStatement);
    return await this.#fates.mutation(this.#link.call("write", made, toWriteOptions(options)));
  }

  #handle(kind: string): string {
    this.#lastHandle += 1;
    return `${kind}${this.#lastHandle}`;
  }

  #setUp(): void {
    this.#again.forget();
    for (const subscription of this.#subscriptions.values()) subscription.setUp();
    for (const watch of this.#watches.values()) watch.setUp();
  }

  #ready(isAgain: boolean): void {
    this.#fates.askAgain();
    // What was asked of a worker before this one is not answered.
    if (this.#link.generation > 0) this.#tellRejections();
    if (isAgain) return;
    void this.#surroundings.persist(this.#options.persist ?? true).then((isPersistent) => {
      if (isPersistent !== null && !this.#link.ended) {
        this.#show({ ...this.#status, storage: { ...this.#status.storage, isPersistent } });
      }
    });
  }

  #onPage(what: "visible" | "hidden" | "away" | "back"): void {
    if (what === "away") return this.#link.leave();
    if (what === "back") return this.#link.comeBack();
    const isVisible = what === "visible";
    this.#link.say({ type: "visible", isVisible });
    for (const watch of [...this.#watches.values()]) watch.see();
  }

  /** Everything that a step has changed is applied first, and then all are told. */
  #apply(events: PageEvent[]): void {
    const notices: Notices = [];
    for (const event of events) {
      switch (event.type) {
        case "result":
          this.#watches.get(event.handle)?.apply(event, notices);
          break;
        case "subscription":
          this.#subscriptions.get(event.handle)?.apply(event.view, notices);
          break;
        case "mutation":
          this.#fates.apply(event.id, event.state, notices);
          break;
        case "status": {
          const before = this.#status.word;
          this.#status = toStatus(event, this.#status);
          this.#statuses.notify(this.#status, notices);
          if (this.#status.word !== before && !isTrouble(this.#status)) notices.push(() => this.#again.again());
          break;
        }
        case "incident":
          this.#incidents.notify({ kind: event.kind, message: event.message }, notices);
          break;
        case "rest":
          this.#link.rest = event.rest;
          break;
        case "rejections":
          notices.push(() => this.#tellRejections());
          break;
      }
    }
    tell(notices);
  }

  #warn(): void {
    const isWanted = this.#fates.isWaiting && warnsOnLeave(this.#options, this.#status.storage);
    if (isWanted) {
      this.#stopWarning ??= this.#surroundings.warnOnLeave();
      return;
    }
    this.#stopWarning?.();
    this.#stopWarning = undefined;
  }

  #show(status: Status): void {
    this.#status = status;
    this.#warn();
    const notices: Notices = [];
    this.#statuses.notify(status, notices);
    tell(notices);
  }

  #tellRejections(): void {
    if (this.#rejected.isEmpty) return;
    this.#again.ask(() => this.rejections(), {
      done: (rejections) => {
        const notices: Notices = [];
        this.#rejected.notify(rejections, notices);
        tell(notices);
      },
      failed: () => undefined,
    });
  }

  /** The worker has ended. Whoever is told of something that is not live any more sees the same of all others. */
  #down({ code, message }: TidewireError): void {
    this.#again.forget();
    const notices: Notices = [];
    for (const subscription of this.#subscriptions.values()) subscription.down(notices);
    for (const watch of this.#watches.values()) watch.down(notices);
    this.#status = { ...this.#status, word: code === "quota" ? "disk_full" : "error", reason: { code, message } };
    this.#statuses.notify(this.#status, notices);
    tell(notices);
  }

  #ended(error: TidewireError, isClosed: boolean): void {
    for (const stop of this.#stops) stop();
    this.#again.forget();
    const notices: Notices = [];
    for (const subscription of [...this.#subscriptions.values()]) subscription.end(error, notices);
    for (const watch of [...this.#watches.values()]) {
      if (isClosed) watch.close();
      else watch.end(error, notices);
    }
    this.#fates.end(error);
    const reason = isClosed ? null : { code: error.code, message: error.message };
    this.#status = { ...this.#status, word: isClosed ? "closed" : "error", reason };
    this.#statuses.notify(this.#status, notices);
    tell(notices);
    for (const listeners of [this.#statuses, this.#incidents, this.#rejected]) listeners.clear();
  }
}

/** Nothing can be stored then. */
function isTrouble({ word }: Status): boolean {
  return word === "error" || word === "disk_full";
}

/** Stands for a write that is not known. */
const NOTHING: CoreWrote = { id: null, rowsAffected: 0, columns: [], rows: [], state: { state: "local" } };
