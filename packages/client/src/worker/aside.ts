/**
 * What was written in a stand-in and has not reached the server, or was rejected there: the leader has it beside the
 * replica until all of it is decided and dealt with.
 *
 * It stays a client of its own, since what it has sent the server knows by its name. What is written there has larger
 * numbers, so that a page goes on with the handles that it was given.
 */

import type { Core, CoreError, CoreEvent, CoreHost, CoreWriteOptions, CoreWrote, LogLevel } from "../core.js";
import { failure, isTrap, plain } from "./failures.js";
import type { AsideStorage } from "./guest.js";

/** Numbers of writes in a stand-in are larger than this. */
export const ASIDE = 2 ** 48;

/** How long whoever asks what waits in all waits until it is open, in milliseconds. */
const OPEN_WITHIN_MS = 2_000;

const ELSEWHERE = "it was written in the replica that another page has, which does not answer: show that page, or close it";

/** Whether it is the number of a write in a stand-in. */
export function isAside(id: unknown): boolean {
  return typeof id === "number" && id > ASIDE;
}

/** The same core with the larger numbers. One that is not larger is not its own, and is refused. */
export function renumbered(core: Core): Core {
  const own = (id: number): number => {
    if (!isAside(id)) throw failure("leader_changed", ELSEWHERE);
    return id - ASIDE;
  };
  const ownIn = (options: CoreWriteOptions = {}): CoreWriteOptions =>
    options.replaces === undefined ? options : { ...options, replaces: own(options.replaces) };
  const told = <W extends CoreWrote | true | undefined>(wrote: W): W =>
    typeof wrote === "object" && wrote.id !== null ? { ...wrote, id: wrote.id + ASIDE } : wrote;
  const others: Partial<Core> = {
    write: async (statements, options) => told(await core.write(statements, ownIn(options))),
    begin: (handle, options) => core.begin(handle, ownIn(options)),
    commit: async (handle) => told(await core.commit(handle)),
    answer: async (client, number) => told(await core.answer(client, number)),
    pending: async () => {
      const { mutations, oldestAgeMs } = await core.pending();
      return { mutations: mutations.map((it) => ({ ...it, id: it.id + ASIDE })), oldestAgeMs };
    },
    mutation: async (id) => told(await core.mutation(own(id))),
    cancel: async (id, options) => await core.cancel(own(id), options),
    rejections: async () => (await core.rejections()).map((it) => ({ ...it, id: it.id + ASIDE })),
    retry: async (id, options) => told(await core.retry(own(id), options)),
    discard: async (id, options) => await core.discard(own(id), options),
  };
  // The others are methods of the object itself, which finds what it has through the prototype.
  return Object.assign(Object.create(core) as Core, others);
}

/** What such a core tells, with its numbers. */
export function renumberedEvents(events: CoreEvent[]): CoreEvent[] {
  return events.map((event) => (event.type === "mutation" ? { ...event, id: event.id + ASIDE } : event));
}

/** Whether something waits in it, or was rejected and is not dealt with. */
export async function hasLeft(core: Core): Promise<boolean> {
  const [{ mutations }, rejections] = [await core.pending(), await core.rejections()];
  return mutations.length + rejections.length > 0;
}

/** How it is told of. */
export interface AsideUser {
  token(): Promise<string>;
  emit(events: CoreEvent[]): void;
  log(level: LogLevel, line: string): void;
  /** It cannot be opened. */
  failed(error: CoreError): void;
}

export class Aside {
  readonly #storage: AsideStorage;
  readonly #open: (host: CoreHost) => Promise<Core>;
  readonly #user: AsideUser;
  #core: Core | undefined;
  #opening: Promise<Core | undefined> | undefined;
  /** Until then it cannot be opened again. */
  #removing: Promise<void> = Promise.resolve();
  /** It is looked whether something is left, and again when that is done. */
  #looking: Promise<void> | undefined;
  #mustLook = false;
  #isResting = false;
  #isOver = false;

  constructor(storage: AsideStorage, open: (host: CoreHost) => Promise<Core>, user: AsideUser) {
    this.#storage = storage;
    this.#open = open;
    this.#user = user;
  }

  /**
   * It, if there is something: it is opened when no page stands in any more. Rejects with `internal` when it cannot be,
   * and is there all the same.
   */
  core(): Promise<Core | undefined> {
    if (this.#core || this.#isOver) return Promise.resolve(this.#core);
    this.#opening ??= this.#begin().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  /** It, if it is open, or is soon. */
  async here(): Promise<Core | undefined> {
    if (this.#core || !this.#opening) return this.#core;
    const late = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), OPEN_WITHIN_MS));
    return await Promise.race([this.#opening.catch(() => undefined), late]);
  }

  /** Opens it, if there is something, and removes it when there is nothing any more. */
  look(): void {
    this.#mustLook = true;
    this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
  }

  /** Looks when nothing in it waits for the server: what was done here with what was rejected may be the last of it. */
  follow(): void {
    this.#core?.waitForSync().then(
      () => this.look(),
      // It is closed: whoever has it next waits again.
      () => undefined,
    );
  }

  /** Waits until nothing in it waits for the server. */
  async waitForSync(...timeout: Parameters<Core["waitForSync"]>): Promise<void> {
    const core = await this.here();
    try {
      await core?.waitForSync(...timeout);
    } catch (error) {
      // Otherwise it was removed, because that is so.
      if (core === this.#core) throw error;
    }
  }

  /** The application wants no connection, or wants one again. */
  rest(isResting: boolean): void {
    this.#isResting = isResting;
    if (isResting) this.#core?.pause();
    else this.#core?.resume();
  }

  /** What was done there lasts. */
  async settled(): Promise<void> {
    await this.#storage.settled?.();
  }

  async close(): Promise<void> {
    this.#isOver = true;
    const core = this.#core ?? (await this.#opening?.catch(() => undefined));
    this.#core = undefined;
    await core?.close();
  }

  async #look(): Promise<void> {
    while (this.#mustLook) {
      this.#mustLook = false;
      try {
        const core = await this.core();
        if (!core || this.#isOver || (await hasLeft(core))) continue;
        this.#core = undefined;
        const removed = core.signOut("wipe", true).then(() => this.#storage.remove());
        this.#removing = removed.catch(() => undefined);
        await removed;
      } catch (error) {
        if (isTrap(error)) throw error;
        this.#user.failed(plain(error));
      }
    }
  }

  async #begin(): Promise<Core | undefined> {
    await this.#removing;
    if (!(await this.#storage.isThere())) return undefined;
    return await this.#storage.alone(async () => {
      // Whoever stood in may have removed it.
      if (this.#isOver || !(await this.#storage.isThere())) return undefined;
      const core = renumbered(await this.#open(this.#host()));
      this.#core = core;
      if (this.#isResting) core.pause();
      this.follow();
      // Another page stands in again, and has it.
      this.#storage.use?.(() => this.#drop(core));
      return core;
    });
  }

  #host(): CoreHost {
    return {
      token: () => this.#user.token(),
      emit: (events) => {
        this.#storage.touched?.();
        const told = events.filter(({ type }) => type === "mutation" || type === "rejections" || type === "incident");
        if (told.length > 0) this.#user.emit(renumberedEvents(told));
      },
      log: (level, line) => this.#user.log(level, line),
    };
  }

  #drop(core: Core): void {
    if (this.#core !== core) return;
    this.#core = undefined;
    core.close().catch(() => undefined);
  }
}

