/** A replica that is open, and the pages that have it: what each of them has asked for, and what each is told. */

import type { Core, CoreError, CoreEvent, CoreHost, CoreRequest, CoreWriteOptions } from "../core.js";
import type { Unsubscribe } from "../listeners.js";
import type { Opening, PageEvent, Rest, ToHost } from "../messages.js";
import { type Aside, type AsideUser, hasLeft, isAside, renumbered, renumberedEvents } from "./aside.js";
import { failure, isTrap, plain } from "./failures.js";
import type { Guest, Replica } from "./guest.js";
import { Tokens } from "./tokens.js";

/** What pages name themselves: what is done with that name ends with the page. */
const NAMED: Record<string, "watch" | "subscription" | "transaction"> = {
  watch: "watch",
  unwatch: "watch",
  subscribe: "subscription",
  loadOlder: "subscription",
  reset: "subscription",
  verify: "subscription",
  release: "subscription",
  unsubscribe: "subscription",
  begin: "transaction",
  run: "transaction",
  commit: "transaction",
  rollback: "transaction",
  over: "transaction",
};

/** What stores something that whoever has called may count on. */
const WRITES = new Set(["write", "commit", "answer", "retry", "discard", "cancel", "subscribe", "unsubscribe", "suspend", "signOut"]);

/** What is called for one write, by its number. */
const OF_ONE_WRITE = new Set(["mutation", "cancel", "retry", "discard"]);

/** How long a write may take that has begun when a stand-in ends, in milliseconds. */
const WRITTEN_WITHIN_MS = 5_000;

const NOT_HERE = "another page of this site has the replica and does not answer: show that page, or close it, and sign out then";
const NOT_IN_ONE = "that write waits in another replica, so that this one cannot take its place: cancel or discard it, and write again";

/** What begins with a call, and what ends. */
const BEGINS = new Set(["watch", "subscribe", "begin"]);
const ENDS = new Set(["unwatch", "release", "unsubscribe", "commit", "rollback"]);

type Methods = Record<string, (...args: unknown[]) => unknown>;

/** A page at this replica. */
interface Seat {
  readonly name: string;
  readonly isLogged: boolean;
  readonly open: Map<string, "watch" | "subscription" | "transaction">;
  /** It knows the status. */
  isTold: boolean;
}

type Open = (host: CoreHost) => Promise<Replica>;

/** What else there is. */
export interface Beside {
  /** It is for as long as a leader does not answer: it is open when the server has answered. */
  readonly isStandIn: boolean;
  /** What may be left of one that was. */
  readonly aside: ((user: AsideUser) => Aside) | undefined;
}

export class Shared {
  /** Rejects with why it cannot be opened. */
  readonly opened: Promise<Replica>;
  /** What the pages want: all of them are one client, so it is what was said last. */
  rest: Rest;
  /** It was closed by a page: whoever comes later has another one. */
  isOver = false;
  /** It is as the pages want it, and they are told of it. */
  #isReady: boolean;
  /** Of the application, as the server knows it. */
  readonly appVersion: number;
  readonly #isStandIn: boolean;
  #aside: Aside | undefined;
  readonly #made: Promise<Replica>;
  #stopTrouble: Unsubscribe | undefined;
  #replica: Replica | undefined;
  #onConnected: () => void = () => undefined;
  /** Calls that write and are not answered. */
  readonly #writing = new Set<Promise<unknown>>();
  /** As the core has told it last. */
  #status: (CoreEvent & { type: "status" }) | undefined;
  /** Why nothing can be stored for now, where the core does not know. */
  #trouble: CoreError | null = null;
  readonly #seats = new Map<Guest, Seat>();
  #lastSeat = 0;
  readonly #tokens = new Tokens(() => this.#seats.keys());

  constructor(open: Open, { rest, config }: Opening, { isStandIn, aside }: Beside) {
    this.rest = rest;
    this.#isStandIn = isStandIn;
    this.#isReady = !isStandIn;
    this.appVersion = config.appVersion ?? 0;
    const host: CoreHost = {
      token: () => this.#tokens.want(),
      emit: (events) => this.#emit(isStandIn ? renumberedEvents(events) : events),
      // Somebody who wants it may come later.
      log: (level, line) => this.#log(level, line),
    };
    this.#aside = aside?.({
      token: host.token,
      emit: (events) => this.#emit(events),
      log: (level, line) => this.#log(level, line),
      failed: ({ message }) => this.#log("warn", `what was written while a page stood in cannot be read: ${message}`),
    });
    const connected = new Promise<void>((resolve) => (this.#onConnected = resolve));
    this.#made = open(host).then((replica) => this.#begin(replica));
    // Before that there is nothing in it, and no table.
    this.opened = isStandIn ? this.#made.then((replica) => this.#wait(connected, replica)) : this.#made;
    // Each page that waits for it is told.
    this.opened.catch(() => undefined);
  }

  get isEmpty(): boolean {
    return this.#seats.size === 0;
  }

  /** A page wants to have it. Gives the name of its seat. */
  join(guest: Guest, isLogged: boolean): string {
    this.#lastSeat += 1;
    const name = `${this.#lastSeat}.`;
    this.#seats.set(guest, { name, isLogged, open: new Map(), isTold: false });
    this.#tokens.joined();
    return name;
  }

  isAt(guest: Guest, seat: string): boolean {
    return this.#seats.get(guest)?.name === seat;
  }

  /** It is open for a page, which is told how it is. */
  welcome(guest: Guest): void {
    const seat = this.#seats.get(guest);
    if (!seat || seat.isTold || !this.#status) return;
    seat.isTold = true;
    guest.post({ type: "events", events: [this.#shown(this.#status)] });
  }

  /** A page has gone. */
  leave(guest: Guest): void {
    const seat = this.#seats.get(guest);
    if (!seat) return;
    this.#seats.delete(guest);
    this.#tokens.left(guest);
    const core = this.#replica?.core;
    for (const [handle, kind] of seat.open) {
      if (kind === "watch") core?.unwatch(handle);
      else if (kind === "subscription") core?.release(handle);
      else core?.rollback(handle);
    }
  }

  async keepRequests(clients: string[]): Promise<void> {
    await this.#replica?.core.keepRequests(clients);
  }

  /** Ends it, and tells nobody anything any more. */
  async close(): Promise<void> {
    this.#seats.clear();
    this.#onConnected();
    // What is still being opened is closed then.
    const replica = await this.#made.catch(() => undefined);
    this.#stopTrouble?.();
    await Promise.all([replica?.core.close(), this.#aside?.close()]);
  }

  /** Ends a stand-in, when the writes are answered that have begun; and removes it, if nothing waits in it. */
  async retire(): Promise<void> {
    const { core, storage } = await this.#made;
    const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), WRITTEN_WITHIN_MS));
    const isWritten = await Promise.race([Promise.allSettled(this.#writing).then(() => true), late]);
    if (isWritten && !(await hasLeft(core))) await core.signOut("wipe", true);
    await this.close();
    await storage.settled?.();
  }

  /** Something may be left of a stand-in that was. */
  lookAside(): void {
    this.#aside?.look();
  }

  /** Does what a page asks for, and gives what comes of it when that is durable. */
  async call(guest: Guest, op: string, args: unknown[], wentAside: boolean): Promise<unknown> {
    const seat = this.#seats.get(guest);
    const replica = this.#replica;
    if (!seat || !replica) throw failure("leader_changed", "the replica is not open here: it is opened again");
    if (!WRITES.has(op)) return await this.#do(replica.core, guest, seat, op, args);
    const done = this.#write(replica, () => this.#do(replica.core, guest, seat, op, args), wentAside ? args : undefined);
    this.#writing.add(done);
    try {
      return await done;
    } finally {
      this.#writing.delete(done);
    }
  }

  /** What a stand-in may have been asked for with these arguments is not done again where it was done there. */
  async #write({ storage }: Replica, write: () => unknown, askedAside: unknown[] | undefined): Promise<unknown> {
    const { client, number } = requestIn(askedAside ?? []);
    const aside = client === undefined ? undefined : await this.#aside?.core().catch(unknown);
    const value = (await aside?.answer(client as string, number as number)) ?? (await write());
    await storage.settled?.();
    await this.#aside?.settled();
    return value;
  }

  /** A page has given a token, or none. */
  answerToken(guest: Guest, message: ToHost & { type: "token" | "no_token" }): void {
    this.#tokens.answer(guest, message);
  }

  #begin({ core, storage }: Replica): Replica {
    const replica = { core: this.#isStandIn ? renumbered(core) : core, storage };
    this.#replica = replica;
    this.#stopTrouble = replica.storage.onTrouble?.((why) => {
      this.#trouble = why;
      if (this.#status) this.#emit([this.#status]);
    });
    // A page stands in for who has files that nobody else can have, and nothing else is beside others in one worker.
    if (storage.canBeTaken) this.#aside = undefined;
    this.#aside?.rest(this.rest !== null);
    if (this.rest) replica.core.pause();
    if (typeof this.rest === "object" && this.rest) replica.core.suspend(this.rest.within).catch(() => undefined);
    this.lookAside();
    return replica;
  }

  async #wait(connected: Promise<void>, replica: Replica): Promise<Replica> {
    await connected;
    this.#isReady = true;
    return replica;
  }

  #do(core: Core, guest: Guest, seat: Seat, op: string, args: unknown[]): unknown {
    switch (op) {
      case "pause":
        this.#setRest("paused");
        return core.pause();
      case "suspend":
        this.#setRest({ within: args[0] as number });
        return core.suspend(args[0] as number);
      case "resume":
        this.#setRest(null);
        return core.resume();
      case "signOut":
        if (this.#isStandIn) throw failure("conflict", NOT_HERE);
        return this.#signOut(core, guest, args as Parameters<Core["signOut"]>);
      case "pending":
      case "rejections":
      case "waitForSync":
        return this.#together(core, op, args);
      case "unsubscribe":
        return this.#unsubscribe(core, seat, args as Parameters<Core["subscribe"]>);
    }
    if (!this.#isStandIn && OF_ONE_WRITE.has(op) && isAside(args[0])) return this.#ofAside(op, args);
    if (!this.#isStandIn && isAside((args[1] as CoreWriteOptions | undefined)?.replaces)) {
      throw failure("conflict", NOT_IN_ONE);
    }
    const methods = core as unknown as Methods;
    const kind = NAMED[op];
    if (!kind) return methods[op]?.(...args);
    const [handle, ...rest] = args;
    const name = `${seat.name}${String(handle)}`;
    if (BEGINS.has(op)) seat.open.set(name, kind);
    if (ENDS.has(op)) seat.open.delete(name);
    return methods[op]?.(name, ...rest);
  }

  /** What is asked of a write that is left of a stand-in; one that is not any more was decided and dealt with. */
  async #ofAside(op: string, args: unknown[]): Promise<unknown> {
    const aside = (await this.#aside?.core()) as unknown as Methods | undefined;
    if (!aside) return op === "mutation" ? undefined : false;
    const value = await aside[op]?.(...args);
    this.#aside?.follow();
    return value;
  }

  /** What concerns all that was written, with what is left of a stand-in. */
  async #together(core: Core, op: "pending" | "rejections" | "waitForSync", args: unknown[]): Promise<unknown> {
    if (op === "waitForSync") {
      const timeout = args as Parameters<Core["waitForSync"]>;
      return void (await Promise.all([core.waitForSync(...timeout), this.#aside?.waitForSync(...timeout)]));
    }
    const aside = await this.#aside?.here();
    if (op === "rejections") return [...(await core.rejections()), ...((await aside?.rejections()) ?? [])];
    const [own, left] = [await core.pending(), await aside?.pending()];
    if (!left) return own;
    const ages = [own.oldestAgeMs, left.oldestAgeMs].filter((age) => typeof age === "number");
    const oldestAgeMs = ages.length > 0 ? Math.max(...ages) : null;
    return { mutations: [...own.mutations, ...left.mutations], oldestAgeMs };
  }

  async #unsubscribe(core: Core, seat: Seat, [handle, ...query]: Parameters<Core["subscribe"]>): Promise<void> {
    const name = `${seat.name}${handle}`;
    // The core has to know which one it is, also when it was kept from an earlier visit.
    if (!seat.open.delete(name)) await core.subscribe(name, ...query);
    core.unsubscribe(name);
  }

  async #signOut(core: Core, guest: Guest, args: Parameters<Core["signOut"]>): Promise<void> {
    const [data, discardPending] = args;
    const aside = await this.#aside?.core().catch((error: unknown) => {
      throw failure("conflict", `${plain(error).message}: what waits there is not known, sign out again`);
    });
    if (aside && data === "wipe" && !discardPending && (await hasLeft(aside))) {
      throw failure("conflict", "writes wait, or were rejected, that would be lost: discard them, or wait for the server");
    }
    try {
      await core.signOut(...args);
      await aside?.signOut(data, true);
    } catch (error) {
      const { code } = plain(error);
      // With these nothing was done.
      if (isTrap(error) || code === "conflict" || code === "invalid_request") throw error;
      this.#endOthers(guest);
      throw error;
    }
    this.#endOthers(guest);
  }

  #endOthers(guest: Guest): void {
    this.isOver = true;
    const why = "the client is closed, because the user has signed out on another page of this site: create another one";
    for (const other of this.#seats.keys()) {
      if (other !== guest) other.post({ type: "ended", error: failure("invalid_request", why) });
    }
  }

  #setRest(rest: Rest): void {
    this.rest = rest;
    this.#aside?.rest(rest !== null);
    for (const guest of this.#seats.keys()) guest.post({ type: "events", events: [{ type: "rest", rest }] });
  }

  /** Each page is told of what it has asked for, and of what concerns all, at once. */
  #emit(events: CoreEvent[]): void {
    this.#replica?.storage.touched?.();
    const named = new Map<string, PageEvent[]>();
    const all: CoreEvent[] = [];
    for (const event of events) {
      if (event.type === "status") {
        this.#status = event;
        if (["connected", "behind"].includes(event.word)) this.#onConnected();
      }
      if (event.type !== "result" && event.type !== "subscription") {
        all.push(event.type === "status" ? this.#shown(event) : event);
        continue;
      }
      const at = event.handle.indexOf(".") + 1;
      const told = named.get(event.handle.slice(0, at)) ?? [];
      told.push({ ...event, handle: event.handle.slice(at) });
      named.set(event.handle.slice(0, at), told);
    }
    if (!this.#isReady) return;
    const hasStatus = all.some(({ type }) => type === "status");
    for (const [guest, seat] of this.#seats) {
      const told = [...all, ...(named.get(seat.name) ?? [])];
      seat.isTold ||= hasStatus;
      if (told.length > 0) guest.post({ type: "events", events: told });
    }
  }

  #shown(status: CoreEvent & { type: "status" }): CoreEvent {
    if (!this.#trouble) return status;
    const { code, message } = this.#trouble;
    return { ...status, word: code === "quota" ? "disk_full" : "error", reason: { code, message } };
  }

  #log(level: "warn" | "info" | "debug", line: string): void {
    for (const [guest, { isLogged }] of this.#seats) if (isLogged) guest.post({ type: "log", level, line });
  }
}

/** What of a stand-in is left cannot be read. */
function unknown(error: unknown): never {
  const { message } = plain(error);
  throw failure("internal", `${message}. Whether this was done is not known: look at the rows before it is done again`);
}

/** The request in the arguments of a call that has one. */
function requestIn(args: unknown[]): Partial<CoreRequest> {
  // `answer` names it itself.
  if (typeof args[1] === "number") return { client: args[0] as string, number: args[1] };
  return (args[1] as CoreWriteOptions | undefined)?.request ?? {};
}
