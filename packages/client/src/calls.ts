/** Calls that are not answered, and which of them are made again when whoever was to answer has gone. */

import { TidewireError } from "./errors.js";
import type { Calls } from "./messages.js";
import { randomBytes, randomId } from "./random.js";

/** What is asked for. */
export interface Call {
  readonly id: number;
  op: keyof Calls;
  args: unknown[];
  /** It goes to a worker now, and to no other one. */
  onPosted: (() => void) | undefined;
  resolve(value: unknown): void;
  reject(error: TidewireError): void;
  /** Under which a server knows it, so that it does it once. */
  readonly requestId: Uint8Array | undefined;
  /** Whether a worker has it now, and whether one ever had. */
  isPosted: boolean;
  wasPosted: boolean;
  /** Whether a worker has stopped in the middle of it. */
  hasStopped: boolean;
  /** Whoever has the replica may do it still, or is to do it alone: no stand-in is asked for it. */
  isHeld: boolean;
}

/** How whoever was to answer has gone. */
export interface Loss {
  /** What was called may be the reason. */
  readonly isTrap: boolean;
  /** It was a stand-in. What it has done, it has said before it has gone; but not when that was sudden. */
  readonly isStandIn: boolean;
  readonly isSudden: boolean;
}

/** Which argument has the options of what is stored with its effect, so that it is done once however often asked for. */
const REQUESTS: Partial<Record<keyof Calls, number>> = { write: 1, begin: 1, retry: 1, discard: 1, cancel: 1 };

/** Steps of a transaction, which goes with its worker. */
const STEPS = new Set<keyof Calls>(["begin", "run", "over"]);

/** What the page sets up again by itself, and what is done when the worker is gone. */
const NOT_AGAIN = new Set<keyof Calls>(["watch", "subscribe", "loadOlder", "unwatch", "release", "rollback", "close"]);

/** What only whoever has the replica is to do. */
const FOR_LEADER = new Set<keyof Calls>(["unsubscribe", "answer"]);

/** Calls that may have done something by the time that their answer is lost. */
const WRITES = new Set<keyof Calls>(["write", "commit", "answer", "retry", "discard", "cancel", "signOut"]);

export class OpenCalls {
  /** By which the requests of this page are known. */
  readonly client = randomId();
  #last = 0;
  readonly #open = new Map<number, Call>();
  /** Those of them that are requests, in their order. */
  readonly #requests = new Set<number>();
  /** The requests of transactions that are open, by their handles. */
  readonly #begun = new Map<string, number>();
  /** The requests of transactions of which it is asked whether they were committed, by the calls that ask. */
  readonly #asked = new Map<number, number>();

  /** One more. */
  add(call: Pick<Call, "op" | "args" | "onPosted" | "resolve" | "reject">): Call {
    this.#last += 1;
    const requestId = call.op === "remote" ? randomBytes() : undefined;
    const made = { ...call, id: this.#last, requestId, ...UNTOUCHED, isHeld: FOR_LEADER.has(call.op) };
    this.#open.set(made.id, made);
    if (REQUESTS[call.op] !== undefined) this.#requests.add(made.id);
    if (call.op === "begin") this.#begun.set(String(call.args[0]), made.id);
    return made;
  }

  /** It is answered, or nobody waits for it. */
  take(id: number): Call | undefined {
    const call = this.#open.get(id);
    this.#forget(id);
    if (call?.op === "commit" || call?.op === "rollback") this.#begun.delete(String(call.args[0]));
    return call;
  }

  /** The arguments of a call, with its request. */
  argsOf({ id, op, args, requestId }: Call): unknown[] {
    const at = REQUESTS[op];
    if (at === undefined && !requestId) return args;
    const given = [...args];
    const place = at ?? 2;
    const more = requestId ? { requestId } : { request: { client: this.client, number: id, answered: this.#answered } };
    given[place] = { ...(given[place] as object | undefined), ...more };
    return given;
  }

  /** What nobody has, in its order. */
  get waiting(): Call[] {
    return [...this.#open.values()].filter(({ isPosted }) => !isPosted);
  }

  /** It goes to a worker. */
  post(call: Call): void {
    call.isPosted = call.wasPosted = true;
    call.onPosted?.();
  }

  /** Whoever was to answer has gone. What is not to be called again knows why. */
  lose(error: TidewireError, { isTrap, isStandIn, isSudden }: Loss): void {
    // A watch may wait for rows.
    for (const call of [...this.#open.values()].filter(({ isPosted, op }) => isPosted || op === "watch")) {
      if (NOT_AGAIN.has(call.op)) this.#drop(call, error);
      else if (STEPS.has(call.op)) this.#drop(call, undone(error));
      else if (isStandIn && isSudden && WRITES.has(call.op)) this.#drop(call, unknown(call.op, error));
      else if (isTrap && call.hasStopped) this.#drop(call, unknown(call.op, error));
      else call.hasStopped ||= isTrap;
      if (call.op === "commit" && this.#open.has(call.id)) this.#ask(call, error);
      call.isHeld ||= !isStandIn && WRITES.has(call.op);
      call.isPosted = false;
    }
    for (const [handle, id] of this.#begun) {
      // Others that have begun are over.
      if (!this.#open.has(id)) this.#begun.delete(handle);
    }
  }

  /** Nobody will answer any more. */
  end(error: TidewireError): void {
    const all = [...this.#open.values()];
    this.#open.clear();
    this.#requests.clear();
    this.#asked.clear();
    for (const { op, wasPosted, reject } of all) reject(wasPosted ? unknown(op, error) : error);
  }

  /** All requests with smaller numbers are answered. */
  get #answered(): number {
    const [first] = this.#requests;
    return Math.min(first ?? this.#last, ...this.#begun.values(), ...this.#asked.values());
  }

  #forget(id: number): void {
    this.#open.delete(id);
    this.#requests.delete(id);
    this.#asked.delete(id);
  }

  #drop(call: Call, error: TidewireError): void {
    this.#forget(call.id);
    call.reject(error);
  }

  /** The next worker knows whether the transaction was committed. */
  #ask(call: Call, error: TidewireError): void {
    const number = this.#begun.get(String(call.args[0])) ?? 0;
    const { resolve, reject } = call;
    this.#asked.set(call.id, number);
    call.op = "answer";
    call.args = [this.client, number];
    call.resolve = (wrote) => {
      if (wrote === undefined || wrote === null) reject(undone(error));
      else resolve(wrote);
    };
  }
}

/** How it is with a call that nobody had. */
const UNTOUCHED = { isPosted: false, wasPosted: false, hasStopped: false, isHeld: false };

function undone({ code, message }: TidewireError): TidewireError {
  return new TidewireError(code, `${message}. The transaction is undone: start it again`);
}

/** What a call is told whose answer will not come. */
function unknown(op: keyof Calls, error: TidewireError): TidewireError {
  const { code, message } = error;
  if (WRITES.has(op)) {
    const what = "Whether this was done is not known: look at the rows, and at pending(), before it is done again";
    return new TidewireError(code, `${message}. ${what}`);
  }
  if (op === "remote") {
    const what = "Whether the server has done this is not known: ask it for the rows before a write is done again";
    return new TidewireError(code, `${message}. ${what}`);
  }
  return error;
}
