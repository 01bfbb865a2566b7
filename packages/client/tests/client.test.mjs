import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { createdClient, error, LIVE, openClient, OPENED, result, settle, started, workers } from "./fake.mjs";
import { createClient, TidewireError, add } from "../dist/index.js";

const WROTE = { id: 5, rowsAffected: 1, columns: [], rows: [], state: { state: "queued" } };

test("it is imported where there is no browser, and says what is missing when a client is created", () => {
  const script = `
    const { createClient } = await import(${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)});
    try { createClient({ url: "wss://x", user: "ann", token: () => "" }); } catch ({ code, message }) { console.log(code, message); }`;
  const said = execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.match(said, /^unsupported there is no Worker here/);
});

test("calls wait until the core is open, and go in their order", async () => {
  const { client, worker } = await createdClient(createClient);
  const rows = client.query("SELECT 1 AS one");
  client.subscribe("SELECT * FROM a.b", [new Date(5)], { ttl: 1_000 });
  const insert = client.insert("a.b", { id: 1n, doc: { x: 1 }, raw: new Uint8Array([0, 1, 2]).subarray(1) });
  await settle();
  assert.ok(worker.opened.module instanceof WebAssembly.Module);
  assert.equal(worker.opened.opening.config.directory, "tidewire");
  assert.deepEqual(worker.calls, []);
  worker.say(OPENED);
  await client.opened;
  assert.deepEqual(worker.calls.map(({ op }) => op), ["subscribe", "query", "write"]);
  assert.deepEqual(worker.call("subscribe").args, ["s1", "SELECT * FROM a.b", [new Date(5)], { ttlMs: 1_000 }]);
  const [[{ values }]] = worker.call("write").args;
  assert.deepEqual(values, { id: 1n, doc: '{"x":1}', raw: new Uint8Array([1, 2]) });
  await worker.answer("query", { columns: ["one"], rows: [[1]] });
  assert.deepEqual(await rows, [{ one: 1 }]);
  client.update("a.b", { id: 1 }, { n: add(2), body: undefined }).catch(() => undefined);
  assert.deepEqual(worker.call("write").args[0], [{ update: "a.b", key: { id: 1 }, set: { body: null }, add: { n: 2 } }]);
  const lost = assert.rejects(insert, { code: "invalid_request" });
  await Promise.all([client.close(), worker.answer("close")]);
  await lost;
  assert.ok(worker.isTerminated);
});

test("where it cannot be opened every call says why", async () => {
  const { client, worker } = await createdClient(createClient);
  const waiting = client.query("SELECT 1");
  const subscription = client.subscribe("SELECT * FROM a.b");
  const ready = subscription.ready();
  worker.say({ type: "refused", error: error("update_required", "newer") });
  const later = client.subscribe("SELECT * FROM a.c").ready();
  for (const call of [client.opened, waiting, ready, later, client.query("SELECT 2"), client.transaction(() => 1)]) {
    await assert.rejects(call, (thrown) => thrown instanceof TidewireError && thrown.code === "update_required");
  }
  assert.equal(client.status.word, "error");
  assert.ok(worker.isTerminated);
});

test("everything of one step is applied before anybody is told", async (t) => {
  const { client, worker } = await openClient(createClient);
  const a = client.watch("SELECT * FROM a");
  const b = client.watch("SELECT * FROM b");
  const told = [];
  a.onResult(({ rows }) => {
    told.push(["a", rows.length, b.result?.rows.length]);
    if (rows.length === 2) throw new Error("of the application");
  });
  b.onResult(({ rows }) => told.push(["b", rows.length, a.result?.rows.length]));
  const later = t.mock.method(globalThis, "queueMicrotask", () => undefined);
  worker.emit(result("w1", ["x"], [-1], [[1]]), result("w2", ["x"], [], []));
  worker.emit(result("w1", ["x"], [0, -1], [[2]]), result("w2", ["x"], [-1], [[1]]));
  assert.deepEqual(told, [["a", 1, 0], ["b", 0, 1], ["a", 2, 1], ["b", 1, 2]]);
  // It is thrown on its own, where it stops nobody.
  assert.throws(later.mock.calls[0].arguments[0], /of the application/);
});

test("rows keep their identity, and the array when all of them do", async () => {
  const { client, worker } = await openClient(createClient);
  const results = [];
  const leave = client.watch("SELECT * FROM a").onResult((it) => results.push(it));
  worker.emit(result("w1", ["x"], [-1, -1], [[1], [2]], { inserted: [0, 1] }, "loading"));
  worker.emit(result("w1", ["x"], [0, 1], [], {}, "live"));
  worker.emit(result("w1", ["x"], [1, -1], [[3]], { removed: [0], inserted: [1] }));
  const [first, second, third] = results;
  assert.deepEqual(first.rows, [{ x: 1 }, { x: 2 }]);
  assert.equal(second.rows, first.rows);
  assert.equal(second.state, "live");
  assert.equal(third.rows[0], first.rows[1]);
  leave();
  assert.deepEqual(worker.call("unwatch").args, ["w1"]);
});

test("a loop is given the latest result alone, and ends what it has begun", async () => {
  const { client, worker } = await openClient(createClient);
  const seen = [];
  let go;
  const loop = (async () => {
    for await (const { rows, diff } of client.watch("SELECT * FROM a")) {
      seen.push([rows.map(({ x }) => x), diff.inserted, diff.removed]);
      if (seen.length === 2) break;
      await new Promise((resolve) => (go = resolve));
    }
  })();
  await settle();
  worker.emit(result("w1", ["x"], [-1], [[1]], { inserted: [0] }));
  await settle();
  worker.emit(result("w1", ["x"], [0, -1], [[2]], { inserted: [1] }));
  worker.emit(result("w1", ["x"], [1, -1], [[3]], { removed: [0], inserted: [1] }));
  go();
  await loop;
  assert.deepEqual(seen, [[[1], [0], []], [[2, 3], [0, 1], [0]]]);
  assert.deepEqual(worker.call("unwatch").args, ["w1"]);
});

test("a write that is decided before its answer has come is decided", async () => {
  const { client, worker } = await openClient(createClient);
  const write = client.execute("INSERT");
  await worker.posted("write");
  worker.emit({ type: "mutation", id: 5, state: { state: "accepted", seq: 7 } });
  await worker.answer("write", WROTE);
  assert.deepEqual(await (await write).decided(), { state: "accepted", seq: 7 });
});

test("a trap ends the worker: what was under way is asked for again, and the rest is set up again", async () => {
  const { client, worker } = await openClient(createClient);
  const subscription = client.subscribe("SELECT * FROM a.b");
  const results = [];
  client.watch("SELECT * FROM a").onResult((it) => results.push(it));
  worker.emit(result("w2", ["x"], [-1], [[1]], { inserted: [0] }));
  const done = client.execute("INSERT");
  await worker.answer("write", WROTE);
  const mutation = await done;
  const [write, read, wait] = [client.execute("INSERT"), client.query("SELECT 1"), client.waitForSync()];
  const transaction = client.transaction(async (tx) => {
    await tx.execute("INSERT");
  });
  await worker.posted("run");
  client.pause();
  worker.trap();
  await assert.rejects(transaction, ({ code, message }) => code === "internal" && /is undone: start it again/.test(message));
  assert.equal(client.status.word, "error");
  assert.ok(worker.isTerminated);
  const later = client.query("SELECT 2 AS two");

  const next = await started(worker);
  // What the first one still says is nobody's.
  worker.emit(result("w2", ["x"], [], []));
  assert.equal(next.opened.opening.rest, "paused");
  next.say({ ...OPENED, rest: "paused" });
  const again = ["subscribe", "watch", "write", "query", "waitForSync", "pause", "query", "mutation"];
  assert.deepEqual(next.calls.map(({ op }) => op), again);
  // What writes is known there by the same request.
  const { client: name, number } = worker.call("write").args[1].request;
  assert.deepEqual(next.call("write").args[1].request, { client: name, number, answered: number });
  assert.equal(name, next.opened.opening.client);
  await next.answer("write", { ...WROTE, id: 6 });
  assert.equal((await write).id, 6);
  await next.answer("query", { columns: ["one"], rows: [[1]] });
  assert.deepEqual(await read, [{ one: 1 }]);
  await next.answer("query", { columns: ["two"], rows: [[2]] });
  assert.deepEqual(await later, [{ two: 2 }]);
  await next.answer("waitForSync");
  await wait;
  next.emit(result("w2", ["x"], [-1, -1], [[1], [2]], { inserted: [0, 1] }));
  const told = results.map(({ state, diff }) => [state, diff.removed, diff.inserted]);
  assert.deepEqual(told, [["live", [], [0]], ["behind", [], []], ["live", [], [1]]]);
  await next.answer("mutation", { ...WROTE, state: { state: "accepted", seq: 9 } });
  assert.deepEqual(await mutation.decided(), { state: "accepted", seq: 9 });
  next.emit({ type: "subscription", handle: subscription.handle, view: LIVE });
  await subscription.ready();
  assert.equal(subscription.state, "live");
});

test("a worker that stops again and again is given up, and nothing waits for ever", async (t) => {
  const { client, worker } = await openClient(createClient);
  const results = [];
  client.watch("SELECT * FROM a").onResult((it) => results.push(it));
  worker.emit(result("w1", ["x"], [-1], [[1]], { inserted: [0] }));
  const ready = assert.rejects(client.subscribe("SELECT * FROM a.b").ready(), { code: "internal" });
  const waiting = assert.rejects(client.waitForSync(), { code: "internal" });
  const poison = assert.rejects(client.execute("INSERT"), ({ message }) => /is not known/.test(message));
  t.mock.timers.enable({ apis: ["setTimeout"] });
  worker.trap();
  const queued = assert.rejects(client.query("SELECT 1"), { code: "internal" });
  let last = worker;
  for (const pause of [0, 250, 1_000, 4_000]) {
    assert.equal(client.status.word, "error");
    t.mock.timers.tick(pause);
    last = await started(last);
    last.trap();
  }
  await Promise.all([queued, ready, waiting, poison]);
  t.mock.timers.tick(100_000);
  assert.equal(workers.at(-1), last);
  assert.ok(last.isTerminated);
  assert.equal(client.status.word, "error");
  assert.deepEqual(results.map(({ state, rows, error }) => [state, rows.length, error?.code]), [
    ["live", 1, undefined],
    ["behind", 1, undefined],
    ["behind", 1, "internal"],
  ]);
  await assert.rejects(client.query("SELECT 1"), { code: "internal" });
  await client.close();
});

test("tokens are asked of the page, and what is thrown, or is none, is told", async () => {
  let given = () => "the token";
  const token = () => given();
  const { worker } = await openClient(createClient, { token });
  worker.say({ type: "token", id: 1 });
  await settle();
  assert.deepEqual(worker.token, { type: "token", id: 1, token: "the token", losses: 0 });
  given = () => {
    throw new Error("signed out");
  };
  worker.say({ type: "token", id: 2 });
  await settle();
  assert.deepEqual(worker.token, { type: "no_token", id: 2, message: "signed out", losses: 0 });
  for (const none of [undefined, null, { text: () => "the token" }]) {
    given = async () => none;
    worker.say({ type: "token", id: 3 });
    await settle();
    assert.equal(worker.token.type, "no_token");
    assert.match(worker.token.message, /has returned (undefined|null|object): return the token, as a string/);
  }
});

test("a waiting call ends with the client", async () => {
  const { client, worker } = await openClient(createClient);
  const waiting = client.waitForSync({ timeout: 1_000 });
  const loop = (async () => {
    for await (const _ of client.watch("SELECT 1"));
  })();
  await Promise.all([client.signOut("keep"), worker.answer("signOut")]);
  await assert.rejects(waiting, { code: "invalid_request" });
  await loop;
  assert.equal(client.status.word, "closed");
  for await (const _ of client.watch("SELECT 1")) assert.fail("it is closed");
});
