/**
 * A replica for one page, in memory, as long as another page has the one of the site and does not answer. It ends soon,
 * so nothing is stored here that would have to last: a write is done when the server has accepted it, and rejects when
 * the server rejects it. What was written elsewhere is not here, and nobody is told that it was.
 */

import type {
  Core,
  CoreError,
  CoreEvent,
  CoreHost,
  CoreMutationState,
  CoreStatement,
  CoreWriteOptions,
  CoreWrote,
} from "../core.js";
import { MemoryFiles } from "../memory.js";
import { failure } from "./failures.js";
import type { Storage } from "./guest.js";

/** How long a write may take that has left the device when this ends, in milliseconds. */
const DECIDED_WITHIN_MS = 2_000;

/** How long a browser can wait at most, in milliseconds. */
const LONGEST_MS = 2 ** 31 - 1;

const LEADER = "another page of this site has the replica and does not answer: show that page, or close it";
const ELSEWHERE = `only that replica knows of what was written before: ${LEADER}`;
const APART = `make tables in a write of their own, not in one of rows: ${LEADER}`;
const EXPECTED = "it was not done, since it counts on rows as they were shown meanwhile: look at them, and do it again";
const NOTHING = `it has changed nothing of what is here, which is not all, or a table of this device: ${LEADER}`;
const NOT_KNOWN = "whether this was done is not known: look at the rows before it is done again";

/** Makes what is on this device alone: the page has it made in the other replica, too. */
const MAKES = /^\s*(CREATE|ALTER|DROP)\b/i;

const UNDECIDED = new Set(["local", "queued", "sent", "stuck"]);

/** A write that the page waits for. */
interface Write {
  /** What the core has answered. */
  wrote: (CoreWrote & { id: number }) | undefined;
  /** It is to be done only where the server has what was shown. */
  readonly isGuarded: boolean;
  /** It may have left the device. */
  isSent: boolean;
  /** It has been asked to take it back. */
  isTakenBack: boolean;
  resolve(wrote: CoreWrote): void;
  reject(why: unknown): void;
  /** It has answered. */
  begun: Promise<void>;
  /** The page knows what came of it, or somebody else is asked for it. */
  over: Promise<void>;
  end(): void;
}

export class StandIn implements Storage {
  readonly kind = "stand-in";
  readonly #files = new MemoryFiles();
  readonly #writes = new Set<Write>();
  /** Transactions that are open, and whether they are to do more than read. */
  readonly #transactions = new Map<string, boolean>();
  #core: Core | undefined;
  #isEnding = false;

  files(): Promise<MemoryFiles> {
    return Promise.resolve(this.#files);
  }

  letGo(): Promise<void> {
    this.#files.clear();
    return Promise.resolve();
  }

  /** The core as the page has it. */
  async open(host: CoreHost, open: (host: CoreHost) => Promise<Core>): Promise<Core> {
    const emit = (events: CoreEvent[]): void => host.emit(events.filter((event) => this.#isForPage(event)));
    const core = await open({ ...host, emit });
    this.#core = core;
    const other: Partial<Core> = {
      write: (statements, options) => {
        check(options);
        const isMaking = statements.some(makes);
        if (isMaking && !statements.every(makes)) throw failure("leader_changed", APART);
        const how = { isChanging: !isMaking, isGuarded: options?.unchanged ?? false };
        return this.#write(core, how, () => core.write(statements, options));
      },
      begin: (handle, options) => {
        check(options);
        if (this.#isEnding) return;
        this.#transactions.set(handle, false);
        core.begin(handle, options);
      },
      run: (handle, statement) => {
        if (this.#isEnding) return never();
        if (makes(statement)) throw failure("leader_changed", APART);
        if (!("query" in statement)) this.#transactions.set(handle, true);
        return core.run(handle, statement);
      },
      commit: (handle) => {
        const isChanging = this.#transactions.get(handle) ?? false;
        return this.#write(core, { isChanging, isGuarded: false }, () => {
          this.#transactions.delete(handle);
          return core.commit(handle);
        });
      },
      rollback: (handle) => {
        this.#transactions.delete(handle);
        core.rollback(handle);
      },
      // What is taken back is not there any more.
      query: (sql, params) => (this.#isEnding ? never() : core.query(sql, params)),
      pending: elsewhere,
      mutation: elsewhere,
      cancel: elsewhere,
      rejections: elsewhere,
      retry: elsewhere,
      discard: elsewhere,
      waitForSync: waitForLeader,
      syncOnce: waitForLeader,
      signOut: () => Promise.reject(failure("conflict", `${LEADER}, and sign out then`)),
    };
    return Object.assign(Object.create(core) as Core, other);
  }

  /**
   * Takes back what has not left the device, which whoever is next is asked for, and waits a while for what has. What
   * is written from now on is not done. The page knows of all that was when this is done.
   */
  async end(): Promise<void> {
    this.#isEnding = true;
    const late = new Promise<void>((resolve) => setTimeout(resolve, DECIDED_WITHIN_MS));
    if (this.#core) await Promise.race([this.#takeBack(this.#core), late]);
    for (const { reject } of this.#writes) reject(failure("leader_changed", NOT_KNOWN));
    this.#writes.clear();
    // Who waits for them tells the page.
    await new Promise((resolve) => setTimeout(resolve));
  }

  async #takeBack(core: Core): Promise<void> {
    // Writes wait for them; and they would go with this, in any case.
    for (const handle of this.#transactions.keys()) core.rollback(handle);
    this.#transactions.clear();
    await Promise.all([...this.#writes].map(({ begun }) => begun));
    // The last first: otherwise a later one could leave the device when one before it was taken back.
    for (const write of [...this.#writes].reverse()) {
      if (!write.wrote || !this.#writes.has(write)) continue;
      write.isTakenBack = true;
      // While it is suspended nothing can be taken back, and nothing is sent.
      const isBack = await core.cancel(write.wrote.id).catch(({ code }: CoreError) => code === "cancelled" && !write.isSent);
      if (!isBack) {
        this.#look(core, write);
        continue;
      }
      this.#settle(write);
      // Elsewhere the rows may be others that it would count on.
      if (write.isGuarded) write.reject(failure("leader_changed", EXPECTED));
    }
    await Promise.all([...this.#writes].map(({ over }) => over));
  }

  #write(
    core: Core,
    { isChanging, isGuarded }: { isChanging: boolean; isGuarded: boolean },
    begin: () => Promise<CoreWrote>,
  ): Promise<CoreWrote> {
    if (this.#isEnding) return never();
    return new Promise((resolve, reject) => {
      let end = (): void => undefined;
      const over = new Promise<void>((resolve) => (end = resolve));
      const begun = begin().then(
        (wrote) => this.#begun(core, write, wrote, isChanging),
        (error: unknown) => {
          this.#settle(write);
          reject(error);
        },
      );
      const write: Write = { wrote: undefined, isGuarded, isSent: false, isTakenBack: false, resolve, reject, begun, over, end };
      this.#writes.add(write);
    });
  }

  #begun(core: Core, write: Write, wrote: CoreWrote, isChanging: boolean): void {
    const { id } = wrote;
    if (id !== null) {
      write.wrote = { ...wrote, id };
      this.#told(write, wrote.state);
      this.#look(core, write);
      return;
    }
    this.#settle(write);
    // It may change something in the other replica.
    if (isChanging) write.reject(failure("leader_changed", NOTHING));
    else write.resolve(wrote);
  }

  /** Asks how it is with a write, since it may have been told before its number was known. */
  #look(core: Core, write: Write): void {
    if (!write.wrote) return;
    core.mutation(write.wrote.id).then((found) => found && this.#told(write, found.state), () => undefined);
  }

  #told(write: Write, state: CoreMutationState): void {
    write.isSent ||= state.state !== "local" && state.state !== "queued";
    if (UNDECIDED.has(state.state) || !write.wrote || !this.#writes.has(write)) return;
    // It was taken back; or `#takeBack` says so in a moment.
    if (write.isTakenBack && state.state === "rejected" && state.code === "cancelled") return;
    this.#settle(write);
    // Nobody can find it here later.
    if (state.state === "accepted" || state.state === "expired") {
      write.resolve({ ...write.wrote, id: null, state });
      return;
    }
    // It is not discarded: later writes of a queue that holds wait, and are asked of whoever is next.
    write.reject(state.state === "rejected" ? failure(state.code, state.reason) : failure("leader_changed", NOT_KNOWN));
  }

  #settle(write: Write): void {
    this.#writes.delete(write);
    write.end();
  }

  #isForPage(event: CoreEvent): boolean {
    if (event.type === "mutation") {
      const write = [...this.#writes].find(({ wrote }) => wrote?.id === event.id);
      if (write) this.#told(write, event.state);
    }
    // What is taken back is shown until whoever is next has it.
    if (event.type === "result") return !this.#isEnding;
    return event.type !== "mutation" && event.type !== "rejections";
  }
}

function makes(statement: CoreStatement): boolean {
  return "sql" in statement && MAKES.test(statement.sql);
}

function check(options?: CoreWriteOptions): void {
  if (options?.replaces !== undefined) throw failure("leader_changed", ELSEWHERE);
}

/** Whoever is next is asked. */
function never(): Promise<never> {
  return new Promise(() => undefined);
}

function elsewhere(): Promise<never> {
  return Promise.reject(failure("leader_changed", ELSEWHERE));
}

/** What is written elsewhere counts, too. */
function waitForLeader(withinMs: number | undefined): Promise<never> {
  return new Promise((_, reject) => {
    if (withinMs !== undefined) setTimeout(() => reject(failure("timeout", LEADER)), Math.min(withinMs, LONGEST_MS));
  });
}
