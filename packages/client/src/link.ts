/**
 * The worker, and the calls to it.
 *
 * ```text
 * opening ──opened──▶ open ──fatal──▶ down ──after a pause──▶ opening …
 *    │ refused          │ close           │ too often
 *    ▼                  ▼                 ▼
 *  ended              ended             ended
 * ```
 *
 * A trap in the WebAssembly never settles a promise, so it is the end of that worker: whatever was under way
 * fails, and another worker takes its place. Calls that are made while there is none wait for it.
 */

import type { Core, CoreConfig, CoreEvent, LogLevel } from "./core.js";
import { TidewireError, invalid, messageOf } from "./errors.js";
import type { FromWorker, ToWorker } from "./messages.js";
import type { Surroundings, WorkerPort } from "./surroundings.js";

/** How long it waits before each further start, in milliseconds. It gives up when all of them have failed. */
const PAUSES_MS = [0, 250, 1_000, 4_000];

/** A worker that has lived for so long was well: the next end is the first again. */
const WELL_AFTER_MS = 60_000;

/** How long the core may take to close. Then the worker ends all the same. */
const CLOSE_WITHIN_MS = 10_000;

const NO_SCRIPT =
  "its script cannot be loaded: serve worker.js with the application, and allow worker-src 'self' in its policy";

/** Calls that may have stored something by the time that their answer is lost. */
const WRITES = new Set<keyof Core>(["write", "commit", "retry", "discard", "cancel", "signOut"]);

/** Calls in a transaction, which goes with its worker. */
const STEPS = new Set<keyof Core>(["begin", "run", "over"]);

/** Who uses a link. */
export interface LinkUser {
  token(): Promise<string>;
  readonly log: ((level: LogLevel, line: string) => void) | undefined;
  /** The core is open: the first time, or again in another worker, which knows nothing of this page. */
  onOpened(isAgain: boolean): void;
  onEvents(events: CoreEvent[]): void;
  /** The worker has ended. Another one is started. */
  onDown(error: TidewireError): void;
  /** There will be no other one. */
  onEnded(error: TidewireError, isClosed: boolean): void;
}

interface Call {
  op: keyof Core;
  args: unknown[];
  /** It goes to a worker now, and to no other one. */
  onPosted: (() => void) | undefined;
  resolve(value: unknown): void;
  reject(error: TidewireError): void;
}

export class Link {
  readonly #config: CoreConfig;
  readonly #user: LinkUser;
  readonly #surroundings: Surroundings;
  #worker: WorkerPort | undefined;
  #isOpen = false;
  #isFirst = true;
  /** Why there will be no worker any more. */
  #ended: TidewireError | undefined;
  #isClosed = false;
  #failures = 0;
  #openedAt = 0;
  #restart: ReturnType<typeof setTimeout> | undefined;
  #lastCall = 0;
  /** Posted, and not answered. */
  readonly #pending = new Map<number, Call>();
  /** Not posted yet. */
  #queue: Call[] = [];
  #generation = 0;

  constructor(config: CoreConfig, user: LinkUser, surroundings: Surroundings) {
    this.#config = config;
    this.#user = user;
    this.#surroundings = surroundings;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get ended(): TidewireError | undefined {
    return this.#ended;
  }

  /** Whether it has ended because the application wanted it to. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Another number for each worker that takes the place of one that has ended. */
  get generation(): number {
    return this.#generation;
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
    worker.onmessage = (event) => this.#receive(worker, event.data);
    worker.onmessageerror = () => this.#fail(worker, "a message of the worker cannot be read");
    worker.onerror = (event) => {
      // It is dealt with here, and says the same in the console without this.
      event.preventDefault();
      // A script that is not there, or that a policy forbids, comes without a sentence.
      this.#fail(worker, event.message || NO_SCRIPT);
    };
    const isLogged = this.#user.log !== undefined;
    this.#surroundings.program().then(
      (module) => this.#post(worker, { type: "open", module, config: this.#config, isLogged }),
      (error: TidewireError) => {
        if (worker === this.#worker) this.#end(error);
      },
    );
  }

  /**
   * Calls the core. It waits until that is open.
   *
   * Rejects with what the core says; with `internal` when the worker ends meanwhile; and with why there is no worker,
   * when there will be none.
   */
  call<Op extends keyof Core>(op: Op, ...args: Parameters<Core[Op]>): Promise<Awaited<ReturnType<Core[Op]>>> {
    return this.callIn(undefined, op, ...args);
  }

  /** The same, and says when it goes to a worker: until then none has to do with it. */
  callIn<Op extends keyof Core>(
    onPosted: (() => void) | undefined,
    op: Op,
    ...args: Parameters<Core[Op]>
  ): Promise<Awaited<ReturnType<Core[Op]>>> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended);
        return;
      }
      const call: Call = { op, args, onPosted, resolve: resolve as (value: unknown) => void, reject };
      if (this.#isOpen) this.#send(call);
      else this.#queue.push(call);
    });
  }

  /** Calls what gives nothing back. The core says what is wrong with it in other ways, if something is. */
  tell<Op extends keyof Core>(op: Op, ...args: Parameters<Core[Op]>): void {
    this.call(op, ...args).catch(() => undefined);
  }

  /** Closes the core, and ends. Calls that wait fail. */
  async close(): Promise<void> {
    if (this.#ended) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
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
        this.#opened();
        break;
      case "refused":
        this.#refused(TidewireError.from(message.error));
        break;
      case "done":
        this.#take(message.id)?.resolve(message.value);
        break;
      case "failed":
        this.#take(message.id)?.reject(TidewireError.from(message.error));
        break;
      case "events":
        this.#user.onEvents(message.events);
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

  #opened(): void {
    const isAgain = !this.#isFirst;
    this.#isOpen = true;
    this.#isFirst = false;
    this.#openedAt = Date.now();
    // What the page had goes first, so that calls find it.
    this.#user.onOpened(isAgain);
    const queue = this.#queue;
    this.#queue = [];
    for (const call of queue) this.#send(call);
  }

  /** The first time it is final. Later the storage may only be held by the worker that has ended. */
  #refused(error: TidewireError): void {
    if (this.#isFirst) this.#end(error);
    else this.#startAgain(error);
  }

  #fail(worker: WorkerPort, why: string): void {
    if (worker !== this.#worker) return;
    const error = new TidewireError("internal", `the worker has stopped: ${why}`);
    if (this.#isFirst) {
      this.#end(error);
      return;
    }
    if (this.#isOpen && Date.now() - this.#openedAt > WELL_AFTER_MS) this.#failures = 0;
    this.#startAgain(error);
  }

  #startAgain(error: TidewireError): void {
    this.#stop(error);
    const pause = PAUSES_MS[this.#failures];
    if (pause === undefined) {
      this.#end(error);
      return;
    }
    this.#failures += 1;
    this.#user.onDown(error);
    this.#restart = setTimeout(() => this.start(), pause);
  }

  /** Ends the worker, and what it was asked. */
  #stop(error: TidewireError): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#isOpen = false;
    this.#generation += 1;
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    for (const { op, reject } of lost) reject(lostWith(op, error, this.#ended !== undefined));
  }

  #end(error: TidewireError, isClosed = false): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#isClosed = isClosed;
    clearTimeout(this.#restart);
    this.#stop(error);
    const queue = this.#queue;
    this.#queue = [];
    for (const { reject } of queue) reject(error);
    this.#user.onEnded(error, isClosed);
  }

  #send(call: Call): void {
    this.#lastCall += 1;
    const id = this.#lastCall;
    this.#pending.set(id, call);
    call.onPosted?.();
    try {
      this.#post(this.#worker, { type: "call", id, op: call.op, args: call.args });
    } catch (error) {
      this.#pending.delete(id);
      call.reject(invalid(`an argument cannot be given to the worker: ${messageOf(error)}`));
    }
  }

  #take(id: number): Call | undefined {
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    return call;
  }

  #token(worker: WorkerPort, id: number): void {
    this.#user.token().then(
      (token) => this.#post(worker, { type: "token", id, token }),
      (error: unknown) => this.#post(worker, { type: "no_token", id, message: messageOf(error) }),
    );
  }

  #post(worker: WorkerPort | undefined, message: ToWorker): void {
    if (worker === this.#worker) worker?.postMessage(message);
  }
}

/** What a call is told whose answer is lost. */
function lostWith(op: keyof Core, error: TidewireError, isLast: boolean): TidewireError {
  const { code, message } = error;
  if (WRITES.has(op)) {
    const what = "Whether this was done is not known: look at the rows, and at pending(), before it is done again";
    return new TidewireError(code, `${message}. ${what}`);
  }
  if (op === "remote") {
    const what = "Whether the server has done this is not known: ask it for the rows before a write is done again";
    return new TidewireError(code, `${message}. ${what}`);
  }
  if (STEPS.has(op) && !isLast) {
    return new TidewireError(code, `${message}. The transaction is undone: start it again`);
  }
  return error;
}
