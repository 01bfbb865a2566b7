// A device of the conformance scripts, on a client: what `e2e/conformance/README.md` says of its steps.
// Nothing here is of a page.

const LOOK_EVERY_MS = 20;

export class Device {
  #create;
  #client;
  #subscriptions = new Map();
  #writes = new Map();

  /** `create` opens its client. */
  constructor(create) {
    this.#create = create;
  }

  /** Does one step. What it throws says what is otherwise. */
  async step(step, body) {
    const run = this[`_${step}`];
    if (!run) throw new Error(`there is no step ${step}`);
    await run.call(this, body);
  }

  async end() {
    await this.#client?.close();
  }

  get #open() {
    this.#client ??= this.#create();
    return this.#client;
  }

  async _subscribe({ sql, params, fetch_last, name }) {
    const options = fetch_last === undefined ? {} : { fetchLast: fetch_last };
    const subscription = this.#open.subscribe(sql, params, options);
    // A client that is offline has no rows to wait for, and has it stored all the same.
    await this.#open.query("SELECT 1");
    if (this.#open.status.word !== "paused") await subscription.ready();
    if (name) this.#subscriptions.set(name, subscription);
  }

  async _load_older({ name, rows }) {
    this.#subscriptions.get(name).loadOlder(rows);
  }

  async _unsubscribe({ name }) {
    this.#subscriptions.get(name).unsubscribe();
    this.#subscriptions.delete(name);
  }

  async _execute(body) {
    await this.#written(body, () => this.#open.execute(body.sql, body.params));
  }

  async _batch(body) {
    await this.#written(body, () => this.#open.batch(body.statements));
  }

  async _transaction(body) {
    const regret = new Error("the application has thought better of it");
    const run = async (tx) => {
      for (const { sql, params } of body.statements) await tx.execute(sql, params);
      if (body.rollback) throw regret;
    };
    if (!body.rollback) {
      await this.#written(body, async () => (await this.#open.transaction(run)).mutation);
      return;
    }
    const thrown = await this.#open.transaction(run).catch((error) => error);
    if (thrown !== regret) throw new Error(`it should have thrown what the code throws, not ${thrown}`);
  }

  async _insert(body) {
    await this.#written(body, () => this.#open.insert(body.table, body.values));
  }

  async _update(body) {
    await this.#written(body, () => this.#open.update(body.table, body.key, body.values));
  }

  async _delete(body) {
    await this.#written(body, () => this.#open.delete(body.table, body.key));
  }

  async _expect({ sql, params, rows }) {
    await soon(async () => same(await this.#rows(sql, params), rows));
  }

  async _shows({ sql, params, rows }) {
    const found = await this.#rows(sql, params);
    if (!same(found, rows)) throw new Error(`it shows ${JSON.stringify(found)}`);
  }

  async _state({ name, is, code }) {
    await soon(() => {
      const { state, code: found } = this.#writes.get(name).state;
      if (state === is && found === code) return true;
      if (!["queued", "sent"].includes(state)) throw new Error(`it is ${state} (${found})`);
      return false;
    });
  }

  async _pending({ count }) {
    const pending = await this.#open.pending();
    if (pending.count !== count) throw new Error(`${pending.count} writes wait`);
  }

  async _synced() {
    await this.#open.waitForSync();
  }

  async _rejections({ codes }) {
    const code = ({ state }) => (state.state === "rejected" ? state.code : state.state);
    await soon(async () => same((await this.#open.rejections()).map(code), codes));
  }

  async _retry() {
    const [first] = await this.#open.rejections();
    await first.retry();
  }

  async _discard() {
    const [first] = await this.#open.rejections();
    await first.discard();
  }

  async _offline() {
    this.#open.pause();
    await soon(() => this.#open.status.word === "paused");
  }

  async _online() {
    this.#open.resume();
  }

  async _suspend() {
    await this.#open.suspend(30_000);
  }

  async _wake() {
    this.#open.resume();
  }

  async _restart() {
    await this.#open.close();
    this.#client = undefined;
  }

  async _sign_out({ data, discard_pending, error }) {
    const refused = await failed(() => this.#open.signOut(data, { discardPending: discard_pending ?? false }));
    if (refused?.code !== error) throw new Error(`signing out gave ${refused}`);
    if (!refused) this.#client = undefined;
  }

  async #written({ name, error }, write) {
    let mutation;
    const refused = await failed(async () => (mutation = await write()));
    if (refused?.code !== error) throw new Error(`writing gave ${refused}`);
    if (mutation && name) this.#writes.set(name, mutation);
  }

  async #rows(sql, params) {
    return (await this.#open.query(sql, params)).map((row) => Object.values(row));
  }
}

async function failed(run) {
  try {
    await run();
    return undefined;
  } catch (error) {
    return error;
  }
}

/** Values as texts: large numbers come as such from a server. */
export function same(found, expected) {
  const text = (values) => JSON.stringify(values, (_, it) => (["number", "bigint"].includes(typeof it) ? `${it}` : it));
  return text(found) === text(expected);
}

async function soon(look) {
  const end = Date.now() + 30_000;
  while (!(await look())) {
    if (Date.now() > end) throw new Error("it does not come");
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
