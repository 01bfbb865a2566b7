// A worker whose core is the test: it has what the page posts, and posts what the test says.

const EMPTY_WASM = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

export const workers = [];

class FakeWorker {
  calls = [];
  isTerminated = false;

  constructor() {
    workers.push(this);
  }

  postMessage(message) {
    const copy = structuredClone(message);
    if (copy.type === "open") this.opened = copy;
    else if (copy.type === "call") this.calls.push(copy);
    else this.token = copy;
    this.onPosted?.(copy);
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

  /** Answers the last call of this. */
  answer(op, value) {
    this.say({ type: "done", id: this.call(op).id, value });
  }

  refuse(op, code, message = code) {
    const error = { code, message, documentation: `docs/ERRORS.md#${code}`, retryAfterMs: null };
    this.say({ type: "failed", id: this.call(op).id, error });
  }

  call(op) {
    const call = this.calls.findLast((call) => call.op === op);
    if (!call) throw new Error(`${op} was not called, but ${this.calls.map(({ op }) => op)}`);
    return call;
  }

  trap() {
    this.onerror({ message: "unreachable", preventDefault() {} });
  }
}

globalThis.Worker = FakeWorker;
globalThis.fetch = async () => new Response(EMPTY_WASM, { headers: { "Content-Type": "application/wasm" } });

/** Lets everything go on that can. */
export async function settle() {
  await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A client, and its worker, which is open. */
export async function openClient(createClient, options = {}) {
  const client = createClient({ url: "wss://sync.example.com", user: "ann", token: () => "t", ...options });
  await settle();
  const worker = workers.at(-1);
  worker.say({ type: "opened" });
  return { client, worker };
}

/** A result as the core tells it. */
export function result(handle, columns, order, fresh, diff = {}, state = "live") {
  const places = (list = []) => Uint32Array.from(list);
  const { key = [], removed, inserted, updated, moved } = diff;
  return {
    type: "result",
    handle,
    state,
    error: null,
    columns,
    order: Int32Array.from(order),
    fresh,
    diff: { key, removed: places(removed), inserted: places(inserted), updated: places(updated), moved: places(moved) },
  };
}
