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
 * From one that is silent all the same a page that is seen takes the lock, where the files can be had from it.
 */

import { messageOf } from "../errors.js";
import type { FromWorker, Opening, Program, Rest, ToHost, ToWorker } from "../messages.js";
import { randomId } from "../random.js";
import { HELLO, type Hello, PROTOCOL, compare } from "../version.js";
import { type Answer, type Asked, LEADERSHIP, type Said, openChannel, openInbox, presence } from "./channel.js";
import { failure } from "./failures.js";
import type { Guest, Storage } from "./guest.js";
import { prepare } from "./host.js";
import { Leading } from "./leading.js";

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
  /** It waits for the lock, or has it. */
  #wanting: AbortController | undefined;
  #release: (() => void) | undefined;
  #leading: Leading | undefined;
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
    this.#leading?.host.fail(error);
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
    this.#lose(null);
    this.#leader = undefined;
    this.#isSilent = false;
    const leading = new Leading(id, given.module, this.#storages, this.#locks, this.#end);
    this.#leading = leading;
    void leading.host.open(this.#me, given.opening, given.module);
    this.#say({ type: "leader", leader: id, hello: HELLO });
    return over;
  }

  async #letGo(): Promise<void> {
    const leading = this.#leading;
    this.#leading = undefined;
    if (!leading) return;
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error("it takes too long")), LET_GO_WITHIN_MS));
    try {
      await Promise.race([leading.end(), late]);
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
    this.#lose(null);
    this.#leader = leader;
    this.#heardAt = Date.now();
    this.#isSilent = false;
    if (this.#given) this.#ask({ type: "open", opening: this.#given.opening, hello: HELLO });
  }

  #hearAnswer({ leader, told }: Answer): void {
    if (leader !== this.#leader) return;
    this.#heardAt = Date.now();
    if (told.type === "fatal") {
      // Its page has another worker soon.
      this.#lose(null, true);
      this.#leader = undefined;
    } else if (told.type === "lost") {
      this.#lose(null);
    } else if (told.type !== "pong") {
      this.#tell(told);
    }
    if (this.#isSilent) this.#attach(leader);
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
    if (!this.#leading) {
      this.#ask(message);
      return;
    }
    if (message.type === "call" && message.op === "close") void this.#close(message.id);
    else void this.#leading.host.receive(this.#me, message);
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
    if (this.#mayTake && this.#hiddenAt === 0) {
      // Not again at once: others may do the same.
      this.#heardAt = now;
      void this.#want(true);
    }
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
