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
 * From one that is silent all the same a page that is seen takes the lock, where the files can be had; where they cannot,
 * it stands in for it (`standing.ts`), and the pages follow it until the leader is back, or another one has the lock.
 */

import { messageOf } from "../errors.js";
import type { FromWorker, Opening, Program, Rest, ToHost, ToWorker } from "../messages.js";
import { randomId } from "../random.js";
import { HELLO, type Hello, PROTOCOL, compare } from "../version.js";
import { type Answer, type Asked, LEADERSHIP, type Said, openChannel, openInbox, presence } from "./channel.js";
import { failure } from "./failures.js";
import type { AsideStorage, Guest, Storage } from "./guest.js";
import { prepare } from "./host.js";
import { Leading } from "./leading.js";
import { Standing } from "./standing.js";

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
  "another page of this site has the replica and does not answer: until it does, this one goes on with a new one";
const OUTDATED = "another page of this site has a newer version of it: load this page again";

/** Where replicas are. */
interface Places {
  readonly storages: readonly Storage[];
  readonly aside: AsideStorage;
}

export class Tab {
  readonly #toPage: (message: FromWorker) => void;
  readonly #places: Places;
  #locks: LockManager | undefined;
  readonly #end: () => void;
  #given: { module: Program; opening: Opening } | undefined;
  /** By which the others know it, until it goes. */
  #id: string | undefined;
  #channel: BroadcastChannel | undefined;
  #inbox: BroadcastChannel | undefined;
  #depart: (() => void) | undefined;
  #clock: ReturnType<typeof setInterval> | undefined;
  /** It waits for the lock, or has it. */
  #wanting: AbortController | undefined;
  #release: (() => void) | undefined;
  #leading: Leading | undefined;
  /** Whom it follows; and who stands in for that one. */
  #leader: string | undefined;
  #standIn: string | undefined;
  /** It waits until it may stand in, or does. */
  #standing: Standing | undefined;
  #heardAt = 0;
  #lookedAt = 0;
  /** The leader is. */
  #isSilent = false;
  /** What the page had last. */
  #kind: Storage["kind"] | undefined;
  #hiddenAt = 0;
  /** The page was told that it is open. */
  #isServed = false;
  #losses = 0;
  #isOutdated = false;

  /** Where the browser has no locks, it does without the others. `end` ends the worker. */
  constructor(
    toPage: (message: FromWorker) => void,
    places: Places,
    locks: LockManager | undefined,
    end: () => void,
  ) {
    this.#end = end;
    this.#toPage = toPage;
    this.#places = places;
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
    this.#serving?.host.fail(error);
  }

  /** What serves its page, if this worker does. */
  get #serving(): Leading | undefined {
    return this.#leading ?? this.#standing?.leading;
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
    await this.#arrive(this.#locks, id);
    if (id !== this.#id) return;
    this.#channel = openChannel((said) => this.#hear(said));
    this.#inbox = openInbox(id, (answer) => this.#hearAnswer(answer));
    void this.#want(false);
    this.#sayWho();
  }

  #arrive(locks: LockManager, id: string): Promise<void> {
    const lock = presence(this.#given?.opening.client ?? "", id);
    return new Promise((resolve) => {
      const held = locks.request(lock, () => {
        resolve();
        if (id !== this.#id) return undefined;
        // When a browser ends a worker alone, nobody tells its page.
        this.#toPage({ type: "present", lock });
        return new Promise<void>((depart) => (this.#depart = depart));
      });
      held.catch(() => resolve());
    });
  }

  async #leave(): Promise<void> {
    if (this.#id === undefined) return;
    this.#id = undefined;
    clearInterval(this.#clock);
    this.#lose(null);
    this.#leader = undefined;
    const [wanting, depart, channels] = [this.#wanting, this.#depart, [this.#channel, this.#inbox]];
    this.#channel = this.#inbox = undefined;
    await this.#endStanding();
    await this.#letGo();
    wanting?.abort();
    this.#release?.();
    depart?.();
    for (const channel of channels) channel?.close();
  }

  /** Waits for the lock, or takes it from a leader that has let go. */
  async #want(isTaking: boolean): Promise<void> {
    this.#wanting?.abort();
    const wanting = new AbortController();
    this.#wanting = wanting;
    const options: LockOptions = isTaking ? { steal: true } : { signal: wanting.signal };
    try {
      await this.#locks?.request(LEADERSHIP, options, () => (wanting.signal.aborted ? undefined : this.#lead()));
    } catch (error) {
      // Another one has taken it, or it is not wanted any more. Otherwise nobody may have locks here.
      if ((error as DOMException).name !== "AbortError") {
        this.#beAlone();
        return;
      }
    }
    if (wanting.signal.aborted || wanting !== this.#wanting) return;
    // It was taken without having been let go.
    if (this.#leading) {
      this.#lose(null);
      await this.#letGo();
      this.#heardAt = Date.now();
    }
    if (this.#id !== undefined && wanting === this.#wanting) void this.#want(false);
  }

  #beAlone(): void {
    this.#locks = undefined;
    clearInterval(this.#clock);
    for (const channel of [this.#channel, this.#inbox]) channel?.close();
    this.#channel = this.#inbox = undefined;
    void this.#lead();
  }

  /** Done when it does not lead any more. */
  #lead(): Promise<void> {
    const [id, given] = [this.#id, this.#given];
    if (id === undefined || !given) return Promise.resolve();
    const over = new Promise<void>((resolve) => (this.#release = resolve));
    this.#isSilent = false;
    const { storages, aside } = this.#places;
    const leading = new Leading(id, given.module, storages, this.#locks, this.#end, aside);
    this.#leading = leading;
    void this.#endStanding().then(() => {
      if (leading !== this.#leading) return;
      this.#lose(null);
      this.#leader = this.#standIn = undefined;
      void leading.host.open(this.#me, given.opening, given.module);
      this.#say({ type: "leader", leader: id, hello: HELLO });
    });
    return over;
  }

  async #letGo(): Promise<void> {
    const leading = this.#leading;
    this.#leading = undefined;
    if (leading) await this.#closed(leading.end());
  }

  /** Ends the worker when it takes too long. */
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
    const [id, release] = [this.#id, this.#release];
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
        if (said.to === this.#id && !this.#leading) void this.#want(true);
        break;
      case "stand_in":
        this.#hearOfStandIn(said.leader, said.hello);
        break;
      case "ask":
        if (said.leader === this.#id) this.#serving?.receive(said);
        break;
    }
  }

  #hearOfStandIn(standIn: string, hello: Hello): void {
    if (this.#leading && this.#id !== undefined) {
      // This one was silent, and is not any more.
      this.#say({ type: "leader", leader: this.#id, hello: HELLO });
      this.#leading.host.lookAside();
      return;
    }
    const isWanted = this.#isSilent || this.#leader === undefined;
    if (!isWanted || this.#serving || standIn === this.#standIn || hello.protocol !== PROTOCOL) return;
    this.#lose(null);
    this.#standIn = standIn;
    this.#heardAt = Date.now();
    this.#tellOfStandIn();
    if (this.#given) this.#ask({ type: "open", opening: this.#given.opening, hello: HELLO });
  }

  #tellOfStandIn(): void {
    this.#toPage({ type: "events", events: [{ type: "incident", kind: "stand-in", message: STANDS_IN }] });
  }

  #follow(leader: string, hello: Hello): void {
    if (this.#leading || (leader === this.#leader && !this.#isSilent)) return;
    if (this.#serving) {
      void this.#endStanding().then(() => this.#follow(leader, hello));
      return;
    }
    // Who stands in says when all that it has begun is done.
    if (this.#standIn !== undefined) return;
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
    this.#lose(null);
    this.#leader = leader;
    this.#heardAt = Date.now();
    this.#isSilent = false;
    void this.#endStanding();
    if (this.#given) this.#ask({ type: "open", opening: this.#given.opening, hello: HELLO });
  }

  /** Who serves the page, where that is another worker. */
  get #server(): string | undefined {
    return this.#standIn ?? this.#leader;
  }

  #hearAnswer({ leader, told }: Answer): void {
    if (leader !== this.#server || this.#serving) return;
    this.#heardAt = Date.now();
    if (told.type === "fatal") {
      // Its page has another worker soon.
      this.#lose(null, true);
      this.#forgetServer();
    } else if (told.type === "over") {
      this.#lose(null);
      this.#forgetServer();
      this.#sayWho();
    } else if (told.type === "lost") {
      this.#lose(null);
    } else if (told.type !== "pong") {
      this.#tell(told);
    }
    if (this.#isSilent && leader === this.#leader) this.#attach(leader);
  }

  #forgetServer(): void {
    if (this.#standIn === undefined) this.#leader = undefined;
    this.#standIn = undefined;
  }

  /** Tells the page what a leader says. */
  #tell(message: FromWorker): void {
    this.#toPage(message);
    // Whoever has ended must not open it again, when the others have gone.
    if (message.type === "ended") void this.#leave();
    if (message.type !== "opened") return;
    this.#isServed = true;
    this.#kind = message.storage;
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
    const serving = this.#serving;
    if (!serving) this.#ask(message);
    else if (message.type === "call" && message.op === "close") void this.#close(message.id);
    else void serving.host.receive(this.#me, message);
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
    if (this.#standing?.leading) {
      this.#lookStandingIn(this.#standing.leading, now);
      return;
    }
    if (this.#server !== undefined) this.#ask({ type: "ping" });
    if (this.#server === undefined || this.#isSilent) this.#sayWho();
    if (this.#isSilent && this.#hiddenAt === 0) this.#helpOneself();
    if (now - this.#heardAt < SILENT_AFTER_MS) return;
    if (this.#standIn !== undefined) {
      // What it does later is not stored: whoever is next has its files.
      this.#standIn = undefined;
      this.#lose(null);
      this.#lose(SILENT);
    }
    if (this.#isSilent) return;
    this.#isSilent = true;
    this.#lose(SILENT);
  }

  /** The leader is silent, and somebody sees the page. */
  #helpOneself(): void {
    if (this.#mayTake) {
      this.#heardAt = Date.now();
      void this.#want(true);
      return;
    }
    const [locks, id, given] = [this.#locks, this.#id, this.#given];
    if (this.#standing || !locks || id === undefined || !given) return;
    this.#standing = new Standing(locks, () => {
      this.#lose(null);
      this.#standIn = undefined;
      const leading = new Leading(id, given.module, [this.#places.aside], locks, this.#end);
      void leading.host.open(this.#me, given.opening, given.module);
      this.#tellOfStandIn();
      this.#say({ type: "stand_in", leader: id, hello: HELLO });
      return leading;
    });
  }

  /** Whether the files can be had that the leader has. */
  get #mayTake(): boolean {
    const { storages } = this.#places;
    const used = storages.find(({ kind, isHere }) => (this.#kind ? kind === this.#kind : isHere));
    return used?.canBeTaken ?? false;
  }

  /** Who stands in says so again and again: the leader hears of it when it is back. */
  #lookStandingIn(leading: Leading, now: number): void {
    if (this.#id === undefined) return;
    const isHidden = this.#hiddenAt > 0 && now - this.#hiddenAt >= HIDDEN_FOR_MS;
    if (isHidden && leading.seen(HELLO)) void this.#endStanding();
    else this.#say({ type: "stand_in", leader: this.#id, hello: HELLO });
  }

  async #endStanding(): Promise<void> {
    const standing = this.#standing;
    if (!standing) return;
    await standing.end(async (leading) => {
      await this.#closed(leading.retire());
      this.#lose(null);
      this.#heardAt = Date.now();
    });
    if (this.#standing === standing) this.#standing = undefined;
  }

  #show(isVisible: boolean): void {
    this.#hiddenAt = isVisible ? 0 : Date.now();
    if (this.#server !== undefined) this.#ask({ type: "visible", isVisible });
  }

  #remember(changed: { rest: Rest } | { isVisible: boolean }): void {
    if (this.#given) this.#given = { ...this.#given, opening: { ...this.#given.opening, ...changed } };
  }

  #ask(asked: Asked): void {
    if (this.#server === undefined || this.#id === undefined) return;
    this.#say({ type: "ask", leader: this.#server, from: this.#id, asked });
  }

  #sayWho(): void {
    if (this.#id !== undefined) this.#say({ type: "who", from: this.#id, hello: HELLO });
  }

  #say(said: Said): void {
    this.#channel?.postMessage(said);
  }
}
