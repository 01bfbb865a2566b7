// A worker whose core is the test: it has what the page posts, and posts what the test says.

const EMPTY_WASM = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

export const workers = [];

/** What a worker says when it has the replica. */
export const OPENED = { type: "opened", rest: null, storage: "opfs" };

/** What a subscription is told first. */
export const LOADING = { state: "loading", progress: { rows: 0, remaining: null, fraction: null }, error: null };
export const LIVE = { state: "live", progress: { rows: 1, remaining: 0, fraction: 1 }, error: null };

/** Who waits for something: they look when it may be there. */
const waiting = new Set();

function look() {
  for (const { find, resolve } of [...waiting]) {
    const found = find();
    if (!found) continue;
    resolve(found);
  }
}

async function wait(find) {
  let entry;
  await new Promise((resolve) => {
    entry = { find, resolve };
    waiting.add(entry);
    look();
  });
  waiting.delete(entry);
  return find();
}

class FakeWorker {
  calls = [];
  /** What was said besides. */
  said = [];
  answered = new Set();
  isTerminated = false;
  /** What the core says to a subscription, a while after it was asked: a view, or the code of an error. */
  subscribes = () => LOADING;

  constructor() {
    workers.push(this);
    look();
  }

  postMessage(message) {
    const copy = structuredClone(message);
    if (copy.type === "open") this.opened = copy;
    else if (copy.type === "call") this.calls.push(copy);
    else if (copy.type === "token" || copy.type === "no_token") this.token = copy;
    else this.said.push(copy);
    if (copy.op === "subscribe") setImmediate(() => this.#answerSubscribe(copy));
    look();
  }

  terminate() {
    this.isTerminated = true;
  }

  say(data) {
    this.onmessage({ data: structuredClone(data) });
  }

  emit(...events) {
    this.say({ type: "events", events });
  }

  /** The first call of this that has no answer, as soon as there is one. */
  posted(op) {
    return wait(() => this.calls.find((call) => call.op === op && !this.answered.has(call.id)));
  }

  /** Answers it. */
  async answer(op, value) {
    this.#done(await this.posted(op), value);
  }

  async refuse(op, code, message = code) {
    this.#failed(await this.posted(op), code, message);
  }

  /** The last call of this. */
  call(op) {
    const call = this.calls.findLast((call) => call.op === op);
    if (!call) throw new Error(`${op} was not called, but ${this.ops}`);
    return call;
  }

  get ops() {
    return this.calls.map(({ op }) => op);
  }

  trap() {
    this.onerror({ message: "unreachable", preventDefault() {} });
  }

  #answerSubscribe(call) {
    const view = this.subscribes(call);
    if (typeof view === "string") this.#failed(call, view, view);
    else this.#done(call, view);
  }

  #done({ id }, value) {
    this.answered.add(id);
    this.say({ type: "done", id, value });
  }

  #failed({ id }, code, message) {
    this.answered.add(id);
    this.say({ type: "failed", id, error: error(code, message) });
  }
}

globalThis.Worker = FakeWorker;
globalThis.fetch = async () => new Response(EMPTY_WASM, { headers: { "Content-Type": "application/wasm" } });

/** An error as the core tells it. */
export function error(code, message = code) {
  return { code, message, documentation: `docs/ERRORS.md#${code}`, retryAfterMs: null };
}

/** Lets everything go on that waits for nothing. */
export async function settle() {
  // One for what a worker answers by itself, and one for what comes of it.
  for (let at = 0; at < 2; at += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** The worker that takes the place of this one, or the first one, when it was told to open the core. */
export async function started(before) {
  const at = workers.indexOf(before);
  return await wait(() => workers[at + 1]?.opened && workers[at + 1]);
}

/** A client and its worker, whose core is not open. */
export async function createdClient(createClient, options = {}) {
  const before = workers.at(-1);
  const client = createClient({ url: "wss://sync.example.com", user: "ann", token: () => "t", ...options });
  return { client, worker: await started(before) };
}

/** The same, and it is open. */
export async function openClient(createClient, options = {}) {
  const { client, worker } = await createdClient(createClient, options);
  worker.say(OPENED);
  return { client, worker };
}

/** A status as the core tells it. */
export function status(word, reason = null) {
  const progress = { rows: 0, remaining: null, fraction: null };
  return { type: "status", word, reason, lastSyncedAt: null, progress };
}

/** A result as the core tells it. */
export function result(handle, columns, order, fresh, diff = {}, state = "live", failed = null) {
  const places = (list = []) => Uint32Array.from(list);
  const { key = [], removed, inserted, updated, moved } = diff;
  return {
    type: "result",
    handle,
    state,
    error: failed,
    columns,
    order: Int32Array.from(order),
    fresh,
    diff: { key, removed: places(removed), inserted: places(inserted), updated: places(updated), moved: places(moved) },
  };
}
