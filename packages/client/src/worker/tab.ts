/**
 * The worker of one page of several. All pages of a site are one client: the worker that has the lock is the leader
 * and has the replicas, and the others pass on to it what their pages want.
 *
 * ```text
 *          ┌────────── a leader is there: attach ──────────┐
 *   enter ─┤                                               ▼
 *          └─ the lock is given ─▶ leading         following ── the lock is given ─▶ leading
 *                                     │ ▲              ▲
 *                 let go, or taken ───┘ └── take ──────┘
 * ```
 *
 * A leader that ends, however that is, gives up its lock, and the browser gives it to the next. A leader whose page
 * nobody sees lets go for a page that is seen, because browsers freeze hidden pages; so it does for a newer version.
 *
 * From one that is silent all the same a page that is seen takes the lock, where the files can be had from it. Where
 * they cannot, it goes on with a replica of its own (`stand-in.ts`), until the leader answers or there is another one.
 */

import { messageOf } from "../errors.js";
import type { FromWorker, Opening, Program, Rest, ToHost, ToWorker } from "../messages.js";
import { randomId } from "../random.js";
import { HELLO, type Hello, PROTOCOL, compare } from "../version.js";
import { type Answer, type Asked, type Said, hold, openChannel, openInbox, presence } from "./channel.js";
import { failure } from "./failures.js";
import type { Guest, Storage } from "./guest.js";
import { Host, prepare } from "./host.js";
import { Leadership, type LeadershipUser } from "./leadership.js";
import { Leading } from "./leading.js";
import { StandIn } from "./stand-in.js";

/** How often it is looked whether all is well, in milliseconds. */
const LOOK_EVERY_MS = 1_000;

/** How long a leader may be silent, in milliseconds. */
const SILENT_AFTER_MS = 5_000;

/** How long nobody sees a page before its worker lets go for one that is seen, in milliseconds. */
const HIDDEN_FOR_MS = 1_000;

/** How long whoever is to take the lock may take, in milliseconds. Then the next has it. */
const TAKE_WITHIN_MS = 1_000;

/** How long a worker that follows has been there before it gets ready to lead, in milliseconds. */
const PREPARE_AFTER_MS = 1_000;

/** How long it may take to close what is open, in milliseconds. */
const LET_GO_WITHIN_MS = 5_000;

const SILENT = "another page of this site has the replica and does not answer: show that page, or close it";
const STANDS_IN =
  "another page of this site has the replica and does not answer: until it does, this page goes on with one of its own";
const OUTDATED = "another page of this site has a newer version of it: load this page again";

export class Tab {
  readonly #toPage: (message: FromWorker) => void;
  readonly #storages: readonly Storage[];
  #locks: LockManager | undefined;
  readonly #end: () => void;
  #given: { module: Program; opening: Opening } | undefined;
  /** By which the others know it, until it goes. */
  #id: string | undefined;
  #channel: BroadcastChannel | undefined;
  #inbox: BroadcastChannel | undefined;
  #depart: (() => void) | undefined;
  #clock: ReturnType<typeof setInterval> | undefined;
  #leadership: Leadership | undefined;
  #leading: Leading | undefined;
  /** What the page has as long as its leader is silent. */
  #standIn: { readonly host: Host; readonly storage: StandIn; ended: Promise<void> | undefined } | undefined;
  /** Whom it follows. */
  #leader: string | undefined;
  #heardAt = 0;
  #lookedAt = 0;
  #isSilent = false;
  /** Where the replica of the page was. */
  #kind: Storage["kind"] | undefined;
  #hiddenAt = 0;
  /** The page was told that it is open. */
  #isServed = false;
  #losses = 0;
  #isOutdated = false;

  /** Where the browser has no locks, it does without the others. `end` ends the worker. */
  constructor(
    toPage: (message: FromWorker) => void,
    storages: readonly Storage[],
    locks: LockManager | undefined,
    end: () => void,
  ) {
    this.#end = end;
    this.#toPage = toPage;
    this.#storages = storages;
    this.#locks = typeof BroadcastChannel === "undefined" ? undefined : locks;
  }

  /** Hears what the page says. */
  receive(message: ToWorker): void {
    switch (message.type) {
      case "open":
        this.#given = message;
        this.#show(message.opening.isVisible);
        void this.#enter();
        break;
      case "rest":
        this.#remember({ rest: message.rest });
        break;
      case "visible":
        this.#remember({ isVisible: message.isVisible });
        this.#show(message.isVisible);
        break;
      default:
        // What was called before it was lost is called again.
        if (message.losses === this.#losses) this.#pass(message);
    }
  }

  /** The WebAssembly has trapped. */
  fail(error: Error): void {
    this.#host?.fail(error);
  }

  /** What serves the page, where this worker does. */
  get #host(): Host | undefined {
    return this.#leading?.host ?? this.#standIn?.host;
  }

  /** The page of this worker. */
  readonly #me: Guest = {
    id: "",
    post: (message) => (message.type === "lost" ? this.#lose(null) : this.#tell(message)),
  };

  async #enter(): Promise<void> {
    if (this.#id !== undefined || !this.#given) return;
    const id = randomId();
    this.#id = id;
    this.#lookedAt = this.#heardAt = Date.now();
    if (!this.#locks) {
      this.#beAlone();
      return;
    }
    this.#clock = setInterval(() => this.#look(), LOOK_EVERY_MS);
    // A leader that hears of this worker waits for this lock, and must not have it first.
    const lock = presence(this.#given.opening.client, id);
    const depart = await hold(this.#locks, lock);
    if (id !== this.#id) return depart?.();
    this.#depart = depart;
    // When a browser ends a worker alone, nobody tells its page.
    if (depart) this.#toPage({ type: "present", lock });
    this.#channel = openChannel((said) => this.#hear(said));
    this.#inbox = openInbox(id, (answer) => this.#hearAnswer(answer));
    this.#leadership = new Leadership(this.#locks, this.#turns);
    void this.#leadership.want(false);
    this.#sayWho();
  }

  async #leave(): Promise<void> {
    if (this.#id === undefined) return;
    this.#id = undefined;
    clearInterval(this.#clock);
    this.#lose(null);
    this.#leader = undefined;
    const [depart, channels] = [this.#depart, [this.#channel, this.#inbox]];
    this.#channel = this.#inbox = undefined;
    await this.#standIn?.host.end();
    this.#standIn = undefined;
    await this.#letGo();
    this.#leadership?.end();
    depart?.();
    for (const channel of channels) channel?.close();
  }

  readonly #turns: LeadershipUser = {
    onGiven: () => {
      const release = this.#leadership?.release;
      void this.#endStandIn().then(() => {
        // It may have been taken meanwhile, or not be wanted any more.
        if (release === this.#leadership?.release) this.#lead();
      });
    },
    onOver: async () => {
      // It was taken without having been let go.
      if (!this.#leading) return;
      this.#lose(null);
      await this.#letGo();
      this.#heardAt = Date.now();
    },
    onRefused: () => this.#beAlone(),
  };

  #beAlone(): void {
    this.#locks = undefined;
    clearInterval(this.#clock);
    for (const channel of [this.#channel, this.#inbox]) channel?.close();
    this.#channel = this.#inbox = undefined;
    this.#lead();
  }

  #lead(): void {
    const [id, given] = [this.#id, this.#given];
    if (id === undefined || !given) return;
    this.#lose(null);
    this.#leader = undefined;
    this.#isSilent = false;
    const leading = new Leading(id, given.module, this.#storages, this.#locks, this.#end);
    this.#leading = leading;
    void leading.host.open(this.#me, given.opening, given.module);
    this.#say({ type: "leader", leader: id, hello: HELLO });
  }

  #standBy(): void {
    // It would never have rows.
    if (this.#standIn || !this.#given || this.#given.opening.rest) return;
    const storage = new StandIn();
    const host = new Host([storage], this.#end);
    this.#standIn = { host, storage, ended: undefined };
    void host.open(this.#me, this.#given.opening, this.#given.module);
  }

  /** Done when there is none any more, and the page is not served by it. */
  async #endStandIn(): Promise<void> {
    const standIn = this.#standIn;
    if (!standIn) return;
    standIn.ended ??= (async () => {
      await standIn.storage.end();
      if (standIn !== this.#standIn) return;
      this.#lose(null);
      await this.#closed(standIn.host.end().then(() => standIn.storage.letGo()));
      this.#standIn = undefined;
      // By now it may be another one, or silent again.
      this.#leader = undefined;
      this.#isSilent = false;
      this.#heardAt = Date.now();
      this.#sayWho();
    })();
    await standIn.ended;
  }

  async #letGo(): Promise<void> {
    const leading = this.#leading;
    this.#leading = undefined;
    if (leading) await this.#closed(leading.end());
  }

  /** Ends the worker where it takes too long. */
  async #closed(closing: Promise<void>): Promise<void> {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("it takes too long")), LET_GO_WITHIN_MS));
    try {
      await Promise.race([closing, late]);
    } catch (error) {
      // With the end of the worker everything is free.
      this.#toPage({ type: "fatal", message: `the replicas cannot be closed: ${messageOf(error)}` });
      this.#end();
    }
  }

  /** Lets another worker lead. */
  async #handOver(to: string): Promise<void> {
    const [id, release] = [this.#id, this.#leadership?.release];
    if (!this.#leading || id === undefined) return;
    this.#lose(null);
    await this.#letGo();
    this.#heardAt = Date.now();
    this.#say({ type: "take", leader: id, to });
    // It may have gone meanwhile.
    setTimeout(() => release?.(), TAKE_WITHIN_MS);
  }

  #hear(said: Said): void {
    switch (said.type) {
      case "who":
        if (!this.#leading || this.#id === undefined) break;
        if (compare(said.hello, HELLO) > 0) void this.#handOver(said.from);
        else this.#say({ type: "leader", leader: this.#id, hello: HELLO });
        break;
      case "leader":
        this.#follow(said.leader, said.hello);
        break;
      case "take":
        if (said.to === this.#id && !this.#leading) void this.#leadership?.want(true);
        break;
      case "ask":
        if (said.leader === this.#id) this.#leading?.receive(said);
        break;
    }
  }

  #follow(leader: string, hello: Hello): void {
    if (this.#leading || (leader === this.#leader && !this.#isSilent)) return;
    if (hello.protocol > PROTOCOL) {
      this.#tell({ type: "ended", error: failure("update_required", OUTDATED) });
      return;
    }
    const age = compare(hello, HELLO);
    if (age < 0) {
      // It lets go as soon as it hears of this one.
      this.#sayWho();
      return;
    }
    if (age > 0 && !this.#isOutdated) {
      this.#isOutdated = true;
      this.#toPage({ type: "events", events: [{ type: "incident", kind: "outdated", message: OUTDATED }] });
    }
    this.#attach(leader);
  }

  #attach(leader: string): void {
    if (this.#standIn) {
      void this.#endStandIn();
      return;
    }
    this.#lose(null);
    this.#leader = leader;
    this.#heardAt = Date.now();
    this.#isSilent = false;
    if (this.#given) this.#ask({ type: "open", opening: this.#given.opening, hello: HELLO });
  }

  #hearAnswer({ leader, told }: Answer): void {
    // Also of one that has let go since, or has gone.
    if (told.type === "ended") {
      this.#tell(told);
      return;
    }
    if (leader !== this.#leader) return;
    this.#heardAt = Date.now();
    if (told.type === "fatal") {
      // Its page has another worker soon.
      if (!this.#standIn) this.#lose(null, true);
      this.#leader = undefined;
    } else if (this.#standIn) {
      // What it was asked for before it was silent, it may have done.
      if (told.type === "done" || told.type === "failed") this.#tell(told);
    } else if (told.type === "lost") {
      this.#lose(null);
    } else if (told.type !== "pong") {
      this.#tell(told);
    }
    if (this.#isSilent && leader === this.#leader) this.#attach(leader);
  }

  /** Tells the page what a leader says. */
  #tell(message: FromWorker): void {
    this.#toPage(message);
    // Whoever has ended must not open it again, when the others have gone.
    if (message.type === "ended") void this.#leave();
    if (message.type !== "opened") return;
    this.#isServed = true;
    if (message.storage === "stand-in") {
      this.#toPage({ type: "events", events: [{ type: "incident", kind: "stand-in", message: STANDS_IN }] });
    } else {
      this.#kind = message.storage;
    }
    // So that it can lead at once; and not before its page has begun.
    if (!this.#leading) setTimeout(() => this.#prepare(), PREPARE_AFTER_MS);
  }

  #prepare(): void {
    // When it cannot be, whoever needs it is told.
    if (this.#given) prepare(this.#given.module).catch(() => undefined);
  }

  /** Nobody serves the page now; and why, when that is more than a moment. */
  #lose(why: string | null, isTrap = false): void {
    if (!this.#isServed && why === null) return;
    this.#isServed = false;
    this.#losses += 1;
    this.#toPage({ type: "lost", isTrap, why: why === null ? null : failure("leader_changed", why) });
  }

  #pass(message: ToHost): void {
    const host = this.#host;
    if (!host) this.#ask(message);
    else if (message.type === "call" && message.op === "close") void this.#close(message.id);
    else void host.receive(this.#me, message);
  }

  /** Whoever is next can begin at once. */
  async #close(id: number): Promise<void> {
    this.#isServed = false;
    await this.#leave();
    this.#toPage({ type: "done", id, value: undefined });
  }

  #look(): void {
    const now = Date.now();
    const hasSlept = now - this.#lookedAt > 3 * LOOK_EVERY_MS;
    this.#lookedAt = now;
    if (hasSlept) this.#heardAt = now;
    if (this.#leading) {
      const seen = this.#hiddenAt > 0 && now - this.#hiddenAt >= HIDDEN_FOR_MS && this.#leading.seen(HELLO);
      if (seen) void this.#handOver(seen);
      return;
    }
    if (this.#leader !== undefined) this.#ask({ type: "ping" });
    if (this.#leader === undefined || this.#isSilent) this.#sayWho();
    if (now - this.#heardAt < SILENT_AFTER_MS) return;
    if (!this.#isSilent) {
      this.#isSilent = true;
      this.#lose(SILENT);
    }
    if (this.#hiddenAt > 0) return;
    if (!this.#mayTake) {
      this.#standBy();
      return;
    }
    // Not again at once: others may do the same.
    this.#heardAt = now;
    void this.#leadership?.want(true);
  }

  /** Whether the files can be had that the leader has. */
  get #mayTake(): boolean {
    const used = this.#storages.find(({ kind, isHere = true }) => (this.#kind ? kind === this.#kind : isHere));
    return used?.canBeTaken ?? false;
  }

  #show(isVisible: boolean): void {
    this.#hiddenAt = isVisible ? 0 : Date.now();
    if (this.#leader !== undefined) this.#ask({ type: "visible", isVisible });
  }

  #remember(changed: { rest: Rest } | { isVisible: boolean }): void {
    if (this.#given) this.#given = { ...this.#given, opening: { ...this.#given.opening, ...changed } };
  }

  #ask(asked: Asked): void {
    if (this.#leader === undefined || this.#id === undefined) return;
    this.#say({ type: "ask", leader: this.#leader, from: this.#id, asked });
  }

  #sayWho(): void {
    if (this.#id !== undefined) this.#say({ type: "who", from: this.#id, hello: HELLO });
  }

  #say(said: Said): void {
    this.#channel?.postMessage(said);
  }
}
