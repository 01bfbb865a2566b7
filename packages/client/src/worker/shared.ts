/** A replica that is open, and the pages that have it: what each of them has asked for, and what each is told. */

import type { Core, CoreError, CoreEvent, CoreHost } from "../core.js";
import type { Unsubscribe } from "../listeners.js";
import type { Opening, PageEvent, Rest, ToHost } from "../messages.js";
import { failure, isTrap, plain } from "./failures.js";
import type { Guest, Replica } from "./guest.js";

/** How long a page may take to give a token before another one is asked too, in milliseconds. */
const TOKEN_WITHIN_MS = 5_000;

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

/** What begins with a call, and what ends. */
const BEGINS = new Set(["watch", "subscribe", "begin"]);
const ENDS = new Set(["unwatch", "release", "unsubscribe", "commit", "rollback"]);

/** A page at this replica. */
interface Seat {
  readonly name: string;
  readonly isLogged: boolean;
  readonly open: Map<string, "watch" | "subscription" | "transaction">;
  /** It knows the status. */
  isTold: boolean;
}

/** A token that is wanted. */
interface Wanted {
  readonly id: number;
  /** Those who were asked and have not answered, and those who take long. */
  readonly asked: Set<Guest>;
  readonly late: Set<Guest>;
  readonly refused: Set<Guest>;
  resolve(token: string): void;
  reject(error: Error): void;
  timer: ReturnType<typeof setTimeout> | undefined;
}

type Open = (host: CoreHost) => Promise<Replica>;

export class Shared {
  /** Rejects with why it cannot be opened. */
  readonly opened: Promise<Replica>;
  /** What the pages want: all of them are one client, so it is what was said last. */
  rest: Rest;
  /** It was closed by a page: whoever comes later has another one. */
  isOver = false;
  /** Of the application, as the server knows it. */
  readonly appVersion: number;
  #stopTrouble: Unsubscribe | undefined;
  #replica: Replica | undefined;
  /** As the core has told it last. */
  #status: (CoreEvent & { type: "status" }) | undefined;
  /** Why nothing can be stored for now, where the core does not know. */
  #trouble: CoreError | null = null;
  readonly #seats = new Map<Guest, Seat>();
  #lastSeat = 0;
  #lastToken = 0;
  readonly #tokens = new Map<number, Wanted>();

  constructor(open: Open, { rest, config }: Opening) {
    this.rest = rest;
    this.appVersion = config.appVersion ?? 0;
    const host: CoreHost = {
      token: () => this.#token(),
      emit: (events) => this.#emit(events),
      // Somebody who wants it may come later.
      log: (level, line) => this.#log(level, line),
    };
    this.opened = open(host).then((replica) => this.#begin(replica));
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
    for (const wanted of this.#tokens.values()) if (wanted.asked.size === 0) this.#askNext(wanted);
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
    for (const wanted of this.#tokens.values()) {
      wanted.late.delete(guest);
      wanted.refused.delete(guest);
      if (wanted.asked.delete(guest) && !this.#askNext(wanted)) this.#giveUp(wanted, "the page that was asked has gone");
    }
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
    // What is still being opened is closed then.
    const replica = await this.opened.catch(() => undefined);
    this.#stopTrouble?.();
    await replica?.core.close();
  }

  /** Does what a page asks for, and gives what comes of it when that is durable. */
  async call(guest: Guest, op: string, args: unknown[]): Promise<unknown> {
    const seat = this.#seats.get(guest);
    const replica = this.#replica;
    if (!seat || !replica) throw failure("leader_changed", "the replica is not open here: it is opened again");
    const value = await this.#do(replica.core, guest, seat, op, args);
    if (WRITES.has(op)) await replica.storage.settled?.();
    return value;
  }

  /** A page has given a token, or none. */
  answerToken(guest: Guest, message: ToHost & { type: "token" | "no_token" }): void {
    const wanted = this.#tokens.get(message.id);
    if (!wanted || !(wanted.asked.delete(guest) || wanted.late.delete(guest))) return;
    if (message.type === "token") {
      this.#tokens.delete(message.id);
      clearTimeout(wanted.timer);
      wanted.resolve(message.token);
      return;
    }
    wanted.refused.add(guest);
    if (!this.#askNext(wanted)) this.#giveUp(wanted, message.message);
  }

  /** When all who are there have none. Where nobody is there, whoever comes next is asked. */
  #giveUp(wanted: Wanted, why: string): void {
    if (wanted.asked.size > 0 || wanted.refused.size === 0) return;
    this.#tokens.delete(wanted.id);
    clearTimeout(wanted.timer);
    wanted.reject(new Error(why));
  }

  #begin(replica: Replica): Replica {
    this.#replica = replica;
    this.#stopTrouble = replica.storage.onTrouble?.((why) => {
      this.#trouble = why;
      if (this.#status) this.#emit([this.#status]);
    });
    if (this.rest) replica.core.pause();
    if (typeof this.rest === "object" && this.rest) replica.core.suspend(this.rest.within).catch(() => undefined);
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
        return this.#signOut(core, guest, args as Parameters<Core["signOut"]>);
      case "unsubscribe":
        return this.#unsubscribe(core, seat, args as Parameters<Core["subscribe"]>);
    }
    const methods = core as unknown as Record<string, (...args: unknown[]) => unknown>;
    const kind = NAMED[op];
    if (!kind) return methods[op]?.(...args);
    const [handle, ...rest] = args;
    const name = `${seat.name}${String(handle)}`;
    if (BEGINS.has(op)) seat.open.set(name, kind);
    if (ENDS.has(op)) seat.open.delete(name);
    return methods[op]?.(name, ...rest);
  }

  async #unsubscribe(core: Core, seat: Seat, [handle, ...query]: Parameters<Core["subscribe"]>): Promise<void> {
    const name = `${seat.name}${handle}`;
    // The core has to know which one it is, also when it was kept from an earlier visit.
    if (!seat.open.delete(name)) await core.subscribe(name, ...query);
    core.unsubscribe(name);
  }

  async #signOut(core: Core, guest: Guest, args: Parameters<Core["signOut"]>): Promise<void> {
    try {
      await core.signOut(...args);
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
    for (const guest of this.#seats.keys()) guest.post({ type: "events", events: [{ type: "rest", rest }] });
  }

  /** Each page is told of what it has asked for, and of what concerns all, at once. */
  #emit(events: CoreEvent[]): void {
    this.#replica?.storage.touched?.();
    const named = new Map<string, PageEvent[]>();
    const all: CoreEvent[] = [];
    for (const event of events) {
      if (event.type === "status") this.#status = event;
      if (event.type !== "result" && event.type !== "subscription") {
        all.push(event.type === "status" ? this.#shown(event) : event);
        continue;
      }
      const at = event.handle.indexOf(".") + 1;
      const told = named.get(event.handle.slice(0, at)) ?? [];
      told.push({ ...event, handle: event.handle.slice(at) });
      named.set(event.handle.slice(0, at), told);
    }
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

  #token(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#lastToken += 1;
      const wanted = { id: this.#lastToken, asked: new Set<Guest>(), late: new Set<Guest>(), refused: new Set<Guest>(), resolve, reject, timer: undefined };
      this.#tokens.set(this.#lastToken, wanted);
      this.#askNext(wanted);
    });
  }

  /** Asks one more page, if there is one. Each asks for the token of the same user. */
  #askNext(wanted: Wanted): boolean {
    clearTimeout(wanted.timer);
    const { id, asked, late, refused } = wanted;
    const next = [...this.#seats.keys()].find((guest) => ![asked, late, refused].some((those) => those.has(guest)));
    if (!this.#tokens.has(id) || !next) return false;
    wanted.asked.add(next);
    next.post({ type: "token", id });
    // A page that is frozen does not answer.
    wanted.timer = setTimeout(() => {
      asked.delete(next);
      late.add(next);
      this.#askNext(wanted);
    }, TOKEN_WITHIN_MS);
    return true;
  }
}
