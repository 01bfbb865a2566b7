/**
 * The worker, and the calls to it.
 *
 * ```text
 * opening ──opened──▶ open ──lost──▶ lost ──opened──▶ open …
 *    │ refused         │ │ close
 *    │           fatal │ └──────────────▶ ended
 *    ▼                 ▼
 *  ended              down ──after a pause──▶ opening …, ended when that was too often
 * ```
 *
 * The replica is open in one worker of all pages of a site. When that has gone another one has it, and when its
 * WebAssembly has trapped, which never settles a promise, another one takes its place. Whatever was called meanwhile
 * is called again, by the number that it has: what writes is stored with that number, so it is done once. The page
 * sets up again what it watches and subscribes to. Only an open transaction goes with its worker.
 */

import { type Call, OpenCalls } from "./calls.js";
import type { CoreConfig, CoreWrote, LogLevel } from "./core.js";
import { type ErrorCode, TidewireError, invalid, messageOf } from "./errors.js";
import type { Calls, FromWorker, PageEvent, Rest, ToWorker } from "./messages.js";
import type { Unsubscribe } from "./listeners.js";
import type { Surroundings, WorkerPort } from "./surroundings.js";

/** How long it waits before each further start, in milliseconds. It gives up when all of them have failed. */
const PAUSES_MS = [0, 250, 1_000, 4_000];

/** A worker that has lived for so long was well: the next end is the first again. */
const WELL_AFTER_MS = 60_000;

/** What ends by itself: there is no room, or somebody else has the files; and how often it is tried then. */
const FOR_NOW = new Set<ErrorCode>(["quota", "leader_changed"]);
const PASSING_PAUSE_MS = 4_000;

/** How long the core may take to close. Then the worker ends all the same. */
const CLOSE_WITHIN_MS = 10_000;

/** How long it is waited for what a worker has said that has gone, in milliseconds. */
const GONE_AFTER_MS = 500;

const NO_SCRIPT =
  "its script cannot be loaded: serve worker.js with the application, and allow worker-src 'self' in its policy";

/** What does not wait for rows where another replica has taken the place of one. */
const BEFORE_ROWS = new Set<keyof Calls>([
  "subscribe",
  "release",
  "loadOlder",
  "pause",
  "suspend",
  "resume",
  "nudge",
  "remote",
  "waitForSync",
  "syncOnce",
  "diagnose",
  "close",
]);

/** How long it is waited for those that the replica has missed while it was silent, in milliseconds. */
const CATCH_UP_WITHIN_MS = 5_000;

/** What a worker says when the replica is open. */
export type Opened = FromWorker & { type: "opened" };

/** Who uses a link. */
export interface LinkUser {
  token(): Promise<string>;
  readonly log: ((level: LogLevel, line: string) => void) | undefined;
  /** The replica is open, and nothing is known there of what this page has. What is called now goes first. */
  onOpened(): void;
  /** Whatever need not wait for rows has been called. */
  onServed(opened: Opened): void;
  /** Is fulfilled when the rows are there that the page has subscribed to. */
  hasRows(): Promise<unknown>;
  /** All is called that waited for it: the first time, or again. */
  onReady(isAgain: boolean): void;
  onEvents(events: PageEvent[]): void;
  /** For a while nobody serves the page. */
  onDown(error: TidewireError): void;
  /** There will be no other worker. */
  onEnded(error: TidewireError, isClosed: boolean): void;
}

export class Link {
  readonly #config: CoreConfig;
  readonly #user: LinkUser;
  readonly #surroundings: Surroundings;
  #worker: WorkerPort | undefined;
  /** Nobody asks any more whether it has gone. */
  #unwatch: Unsubscribe | undefined;
  #isOpen = false;
  /** What is open is a stand-in, or what was open last. */
  #isStandIn = false;
  /** A stand-in was, and what is open may not have the rows that it had. */
  #isBehind = false;
  /** It does not have all rows yet that it is to have. */
  #isFilling = false;
  /** What the application has said of the connection to a stand-in: the leader does not know it. */
  #saidAside: Rest | undefined;
  /** Writes that have made something there for this device. */
  readonly #madeAside: Parameters<Calls["write"]>[] = [];
  #isFirst = true;
  #wasReady = false;
  /** Why there will be no worker any more. */
  #ended: TidewireError | undefined;
  #isClosed = false;
  #failures = 0;
  #openedAt = 0;
  #restart: ReturnType<typeof setTimeout> | undefined;
  readonly #calls = new OpenCalls();
  #generation = 0;
  /** Why the transactions of the generation before are undone. */
  #loss: TidewireError | undefined;
  /** How often this worker has said that it is lost. */
  #losses = 0;
  #rest: Rest = null;

  constructor(config: CoreConfig, user: LinkUser, surroundings: Surroundings) {
    this.#config = config;
    this.#user = user;
    this.#surroundings = surroundings;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether it is a stand-in, which has only what is subscribed to now. */
  get isStandIn(): boolean {
    return this.#isOpen && this.#isStandIn;
  }

  get ended(): TidewireError | undefined {
    return this.#ended;
  }

  /** Whether it has ended because the application wanted it to. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Another number for each worker that takes the place of one that has gone. */
  get generation(): number {
    return this.#generation;
  }

  /** Whether somebody may see the page. */
  get isVisible(): boolean {
    return this.#surroundings.isVisible();
  }

  /** Why what was open in the generation before is not any more. */
  get loss(): TidewireError {
    return this.#ended ?? this.#loss ?? gone();
  }

  /** What the application wants, for a worker that opens the replica anew. */
  set rest(rest: Rest) {
    // Also when it has gone, and there is no other one yet.
    if (this.#isStandIn) this.#saidAside = rest;
    this.#rest = rest;
    this.say({ type: "rest", rest });
  }

  /** Starts the worker. */
  start(): void {
    let worker: WorkerPort;
    try {
      worker = this.#surroundings.startWorker();
    } catch (error) {
      // Such as an address that a policy forbids.
      this.#end(new TidewireError("internal", `the worker cannot be started: ${messageOf(error)}`));
      return;
    }
    this.#worker = worker;
    this.#losses = 0;
    worker.onmessage = (event) => this.#receive(worker, event.data);
    worker.onmessageerror = () => this.#fail(worker, "a message of the worker cannot be read");
    worker.onerror = (event) => {
      // It is dealt with here, and says the same in the console without this.
      event.preventDefault();
      // A script that is not there, or that a policy forbids, comes without a sentence.
      this.#fail(worker, event.message || NO_SCRIPT);
    };
    this.#surroundings.program().then(
      (module) => {
        const opening = {
          client: this.#calls.client,
          config: this.#config,
          isLogged: this.#user.log !== undefined,
          isVisible: this.#surroundings.isVisible(),
          rest: this.#rest,
        };
        this.#post(worker, { type: "open", module, opening });
      },
      (error: TidewireError) => {
        if (worker === this.#worker) this.#end(error);
      },
    );
  }

  /**
   * Calls the core. It waits until that is open.
   *
   * Rejects with what the core says; and with why there is no worker, when there will be none.
   */
  call<Op extends keyof Calls>(op: Op, ...args: Parameters<Calls[Op]>): Promise<Awaited<ReturnType<Calls[Op]>>> {
    return this.callIn(undefined, op, ...args);
  }

  /** The same, and says when it goes to a worker: until then none has to do with it. */
  callIn<Op extends keyof Calls>(
    onPosted: (() => void) | undefined,
    op: Op,
    ...args: Parameters<Calls[Op]>
  ): Promise<Awaited<ReturnType<Calls[Op]>>> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended);
        return;
      }
      const call = this.#calls.add({ op, args, onPosted, resolve: resolve as (value: unknown) => void, reject });
      if (this.#isOpen && this.#isFor(call)) this.#send(call);
    });
  }

  /** Calls what gives nothing back. The core says what is wrong with it in other ways, if something is. */
  tell<Op extends keyof Calls>(op: Op, ...args: Parameters<Calls[Op]>): void {
    this.call(op, ...args).catch(() => undefined);
  }

  /** Says something to the worker that is no call. */
  say(message: ToWorker & { type: "rest" | "visible" }): void {
    this.#post(this.#worker, message);
  }

  /**
   * The page goes, and may come back as it was. Its worker ends at once: a browser that keeps the page stops the worker
   * where it is, and with it everybody who waits for what it has.
   */
  leave(): void {
    clearTimeout(this.#restart);
    this.#restart = undefined;
    if (!this.#worker) return;
    this.#stop();
    this.#lose(gone(), { isTrap: false, isSudden: true });
  }

  /** The page is back. */
  comeBack(): void {
    if (!this.#worker && !this.#ended) this.#startNow();
  }

  /** There may be a network again: nobody waits out a pause. */
  wake(): void {
    if (this.#restart !== undefined) this.#startNow();
    else if (this.#isOpen) this.tell("nudge");
  }

  /** Closes the core, and ends. Calls that wait fail. */
  async close(): Promise<void> {
    if (this.#ended) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    this.#unwatch?.();
    if (this.#isOpen) {
      const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, CLOSE_WITHIN_MS)));
      // A core that cannot close has said why before.
      await Promise.race([this.call("close").catch(() => undefined), late]);
      clearTimeout(timer);
    }
    this.end();
  }

  /** Ends, because the core is closed. */
  end(): void {
    this.#end(invalid("the client is closed: create another one"), true);
  }

  #receive(worker: WorkerPort, message: FromWorker): void {
    // One that has ended may have said something before.
    if (worker !== this.#worker) return;
    switch (message.type) {
      case "opened":
        this.#opened(message);
        break;
      case "present":
        // One that has ended by itself has said so.
        this.#unwatch = this.#surroundings.onGone(message.lock, () => {
          setTimeout(() => this.#fail(worker, "the browser has ended it"), GONE_AFTER_MS);
        });
        break;
      case "refused":
        this.#refused(TidewireError.from(message.error));
        break;
      case "lost":
        this.#losses += 1;
        this.#lose(message.why ? TidewireError.from(message.why) : gone(), { isTrap: message.isTrap, isSudden: false });
        if (message.why) this.#user.onDown(TidewireError.from(message.why));
        break;
      case "ended":
        this.#end(TidewireError.from(message.error), message.error.code === "invalid_request");
        break;
      case "done":
        this.#done(message.id, message.value);
        break;
      case "failed":
        this.#calls.take(message.id)?.reject(TidewireError.from(message.error));
        break;
      case "events":
        // One that was silent may tell what it was asked for before it is asked anew.
        this.#user.onEvents(this.#isOpen ? message.events : message.events.filter(isForAll));
        break;
      case "token":
        this.#token(worker, message.id);
        break;
      case "log":
        this.#user.log?.(message.level, message.line);
        break;
      case "fatal":
        this.#fail(worker, message.message);
        break;
    }
  }

  #opened(opened: Opened): void {
    this.#isStandIn = opened.storage === "stand-in";
    this.#isBehind ||= this.#isStandIn;
    this.#isFilling = this.#isBehind;
    this.#isOpen = true;
    this.#isFirst = false;
    this.#openedAt = Date.now();
    if (!this.#isStandIn) this.#tellLeader(opened.rest);
    const { waiting } = this.#calls;
    if (this.#isBehind) this.#sendEnds(waiting);
    // What the page had goes first, so that calls find it.
    this.#user.onOpened();
    this.#sendAll(waiting);
    this.#user.onServed(opened);
    if (this.#isFilling) void this.#fill();
    else this.#ready();
  }

  #ready(): void {
    const isAgain = this.#wasReady;
    this.#wasReady = true;
    this.#user.onReady(isAgain);
  }

  /** What the page shows, and builds on, was read from another replica: it goes on when this one has the same rows. */
  async #fill(): Promise<void> {
    const generation = this.#generation;
    if (this.#isStandIn) await this.#user.hasRows();
    else if (!this.#rest) await this.call("waitForSync", CATCH_UP_WITHIN_MS).catch(() => undefined);
    if (generation !== this.#generation) return;
    this.#isBehind = this.#isStandIn;
    this.#isFilling = false;
    if (!this.#isStandIn) for (const made of this.#madeAside.splice(0)) this.tell("write", ...made);
    this.#sendAll(this.#calls.waiting);
    this.#ready();
  }

  /** What was said meanwhile. `rest`: what it knows. */
  #tellLeader(rest: Rest): void {
    const said = this.#saidAside;
    this.#saidAside = undefined;
    this.rest = said === undefined ? rest : said;
    if (said === null) this.tell("resume");
    else if (said === "paused") this.tell("pause");
    else if (said) this.tell("suspend", said.within);
  }

  #done(id: number, value: unknown): void {
    const call = this.#calls.take(id);
    const isMade = call?.op === "write" && (value as CoreWrote).state.state === "local";
    // What is held was answered by the one that was silent.
    if (isMade && this.#isStandIn && !call.isHeld) this.#madeAside.push(call.args as Parameters<Calls["write"]>);
    call?.resolve(value);
  }

  /** What was ended in a stand-in: the same may have been begun again. A write that was called before it goes before it. */
  #sendEnds(waiting: Call[]): void {
    if (this.#isStandIn || waiting.some(({ op }) => op === "write")) return;
    for (const call of waiting.filter(isEnd)) this.#send(call);
  }

  #isFor(call: Call): boolean {
    if (call.isHeld && this.#isStandIn) return false;
    return !this.#isFilling || BEFORE_ROWS.has(call.op) || (call.isHeld && !isEnd(call));
  }

  #sendAll(calls: Call[]): void {
    for (const call of calls) if (!call.isPosted && this.#isFor(call)) this.#send(call);
  }

  /** What ends by itself is waited for. Otherwise it is final the first time, and later tried again. */
  #refused(error: TidewireError): void {
    if (FOR_NOW.has(error.code)) this.#startAgain(error, PASSING_PAUSE_MS);
    else if (this.#isFirst) this.#end(error);
    else this.#startAgain(error);
  }

  #fail(worker: WorkerPort, why: string): void {
    if (worker !== this.#worker) return;
    const error = new TidewireError("internal", `the worker has stopped: ${why}`);
    if (this.#isFirst) this.#end(error);
    // It was there before, so there may only be no network.
    else if (why === NO_SCRIPT) this.#startAgain(error, PASSING_PAUSE_MS);
    else this.#startAgain(error);
  }

  /** Without a pause it is one of those that are counted. */
  #startAgain(error: TidewireError, passing?: number): void {
    this.#stop();
    this.#lose(error, { isTrap: true, isSudden: true });
    const pause = passing ?? PAUSES_MS[this.#failures];
    if (pause === undefined) {
      this.#end(error);
      return;
    }
    if (passing === undefined) this.#failures += 1;
    this.#user.onDown(error);
    this.#restart = setTimeout(() => this.#startNow(), pause);
  }

  #startNow(): void {
    clearTimeout(this.#restart);
    this.#restart = undefined;
    this.start();
  }

  #stop(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#worker?.terminate();
    this.#worker = undefined;
  }

  /** What was called is called again, when somebody serves the page again. */
  #lose(error: TidewireError, how: { isTrap: boolean; isSudden: boolean }): void {
    if (this.#isOpen && Date.now() - this.#openedAt > WELL_AFTER_MS) this.#failures = 0;
    const { isStandIn } = this;
    this.#isOpen = false;
    this.#isFilling = false;
    this.#generation += 1;
    this.#loss = error;
    this.#calls.lose(error, { ...how, isStandIn });
  }

  #end(error: TidewireError, isClosed = false): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#isClosed = isClosed;
    clearTimeout(this.#restart);
    this.#stop();
    this.#isOpen = false;
    this.#generation += 1;
    this.#calls.end(error);
    this.#user.onEnded(error, isClosed);
  }

  #send(call: Call): void {
    this.#calls.post(call);
    try {
      const { id, op } = call;
      this.#post(this.#worker, { type: "call", id, op, args: this.#calls.argsOf(call), losses: this.#losses });
    } catch (error) {
      this.#calls.take(call.id);
      call.reject(invalid(`an argument cannot be given to the worker: ${messageOf(error)}`));
    }
  }

  #token(worker: WorkerPort, id: number): void {
    const losses = this.#losses;
    this.#user.token().then(
      (token) => this.#post(worker, { type: "token", id, token, losses }),
      (error: unknown) => this.#post(worker, { type: "no_token", id, message: messageOf(error), losses }),
    );
  }

  #post(worker: WorkerPort | undefined, message: ToWorker): void {
    if (worker === this.#worker) worker?.postMessage(message);
  }
}

function isEnd({ op }: Call): boolean {
  return op === "unsubscribe";
}

function isForAll({ type }: PageEvent): boolean {
  return type !== "result" && type !== "subscription";
}

function gone(): TidewireError {
  return new TidewireError("leader_changed", "the page that had the replica has gone, and another one has it");
}
