// A page goes on with a stand-in while whoever has the replica is silent, and with the replica afterwards.
import assert from "node:assert/strict";
import { test } from "node:test";

import { createdClient, error, LIVE, LOADING, openClient, OPENED, result, settle, started, status } from "./fake.mjs";
import { createClient } from "../dist/index.js";

const SILENT = { type: "lost", isTrap: false, why: error("leader_changed") };
const LOST = { type: "lost", isTrap: false, why: null };
const STAND_IN = { ...OPENED, storage: "stand-in" };
const WROTE = { id: 5, rowsAffected: 1, columns: [], rows: [], state: { state: "queued" } };
const LOCAL = { ...WROTE, id: null, rowsAffected: 0, state: { state: "local" } };

/** What a worker is called for from now on. */
const since = (worker) => {
  const before = worker.calls.length;
  return () => worker.calls.slice(before).map(({ op }) => op);
};

/** Answers what it was asked last of this. */
function answerLast(worker, op, value) {
  worker.answered.add(worker.call(op).id);
  worker.say({ type: "done", id: worker.call(op).id, value });
}

/** A stand-in is there, and has all rows. */
async function standIn(worker) {
  worker.say(SILENT);
  worker.say(STAND_IN);
  await settle();
}

/** The replica is there. What it is asked for before it has caught up, and after. */
async function back(worker, between = () => undefined) {
  worker.say(LOST);
  await between();
  const asked = since(worker);
  worker.say(OPENED);
  await settle();
  const first = asked();
  answerLast(worker, "waitForSync");
  await settle();
  return { first, later: asked().slice(first.length) };
}

test("what the silent one may still do is left to it, and what reads is asked for again when the rows are there", async () => {
  const { client, worker } = await openClient(createClient);
  const subscription = client.subscribe("SELECT * FROM a.b");
  const shown = [];
  client.watch("SELECT * FROM a.b").onResult(({ rows }) => shown.push(rows.length));
  const [held, read] = [client.execute("INSERT 1"), client.query("SELECT 1")];
  await settle();
  worker.say(SILENT);
  assert.equal(client.status.word, "error");
  const asked = since(worker);
  worker.say(STAND_IN);
  assert.equal(client.status.storage.kind, "stand-in");
  const written = client.execute("INSERT 2");
  await settle();
  assert.deepEqual(asked(), ["subscribe"]);
  worker.emit({ type: "subscription", handle: subscription.handle, view: LIVE });
  await settle();
  assert.deepEqual(asked(), ["subscribe", "query", "watch", "write"]);
  assert.deepEqual(worker.call("write").args[0], [{ sql: "INSERT 2", params: [] }]);
  await worker.answer("query", { columns: ["n"], rows: [[1]] });
  assert.deepEqual(await read, [{ n: 1 }]);
  answerLast(worker, "write", { ...WROTE, id: null, state: { state: "accepted", seq: 3 } });
  assert.equal((await written).state.state, "accepted");

  const { first, later } = await back(worker, () => worker.emit(result("w2", ["x"], [-1], [[1]])));
  // It may have told what it was asked for before it was silent.
  assert.ok(!shown.includes(1));
  assert.deepEqual(first.toSorted(), ["subscribe", "waitForSync", "write"]);
  assert.deepEqual(worker.call("write").args[0], [{ sql: "INSERT 1", params: [] }]);
  assert.deepEqual(later, ["watch"]);
  await worker.answer("write", WROTE);
  assert.equal((await held).id, 5);
});

test("what a stand-in has not done is asked of the next one, and of what it takes with it nothing is known", async () => {
  const { client, worker } = await openClient(createClient);
  await standIn(worker);
  const undone = client.execute("INSERT 1");
  const { later } = await back(worker);
  assert.deepEqual(later, ["write"]);
  await worker.answer("write", WROTE);
  assert.equal((await undone).id, 5);

  await standIn(worker);
  const unknown = client.execute("INSERT 2");
  const transaction = client.transaction((tx) => tx.execute("INSERT 3"));
  await worker.answer("begin");
  await worker.answer("run", { columns: [], rows: [], rowsAffected: 1 });
  await worker.posted("commit");
  worker.trap();
  for (const each of [unknown, transaction]) await assert.rejects(each, /Whether this was done is not known/);
  const next = await started(worker);
  next.say(OPENED);
  assert.ok(!next.ops.includes("answer") && !next.ops.includes("write"));
});

test("the next one waits to catch up as well, when the one before had no time for it", async () => {
  const { client, worker } = await openClient(createClient);
  client.watch("SELECT 1").onResult(() => undefined);
  await standIn(worker);
  worker.say(LOST);
  worker.say(OPENED);
  await worker.posted("waitForSync");
  const { first, later } = await back(worker);
  assert.ok(!first.includes("watch"));
  assert.deepEqual(later, ["watch"]);
});

test("who does not want a watch any more while it waits leaves none behind", async () => {
  const { client, worker } = await openClient(createClient);
  await standIn(worker);
  const stop = client.watch("SELECT 1").onResult(() => undefined);
  worker.say(LOST);
  const asked = since(worker);
  worker.say(OPENED);
  stop();
  await worker.answer("waitForSync");
  await settle();
  assert.deepEqual(asked().filter((op) => op !== "waitForSync"), ["watch", "unwatch"]);
});

test("of what is said of the connection the last word counts, whoever it was said to", async () => {
  const { client, worker } = await createdClient(createClient);
  const rests = () => worker.said.filter(({ type }) => type === "rest").map(({ rest }) => rest);
  worker.say({ ...OPENED, rest: "paused" });
  assert.deepEqual(rests(), ["paused"]);
  await standIn(worker);
  client.pause();
  await worker.answer("pause");
  worker.say(LOST);
  worker.say(OPENED);
  await settle();
  assert.equal(worker.ops.at(-1), "pause");
  await worker.answer("pause");
  assert.equal(rests().at(-1), "paused");

  await standIn(worker);
  client.pause();
  await worker.answer("pause");
  worker.say(LOST);
  client.resume();
  const asked = since(worker);
  worker.say(OPENED);
  client.pause();
  await worker.answer("waitForSync");
  await settle();
  assert.deepEqual(asked().filter((op) => op === "pause" || op === "resume"), ["resume", "resume", "pause"]);
  assert.equal(rests().at(-1), "paused");
});

test("windows are as wide in a stand-in as they were made, and as wide afterwards", async () => {
  const { client, worker } = await openClient(createClient);
  worker.subscribes = () => LIVE;
  const window = client.subscribe("SELECT * FROM a.b", [], { fetchLast: 10 });
  window.loadOlder(1);
  await worker.answer("loadOlder");
  window.loadOlder(8);
  worker.say(SILENT);
  window.loadOlder(2);
  const asked = since(worker);
  worker.say(STAND_IN);
  await settle();
  assert.deepEqual(asked(), ["subscribe"]);
  assert.equal(worker.call("subscribe").args[3].fetchLast, 21);
  window.loadOlder(4);
  await worker.answer("loadOlder");
  const { first } = await back(worker);
  assert.equal(worker.call("subscribe").args[3].fetchLast, 10);
  assert.deepEqual(first.filter((op) => op === "loadOlder"), ["loadOlder"]);
  assert.deepEqual(worker.call("loadOlder").args, [window.handle, 14]);
});

test("what is ended in a stand-in is ended at the leader, before the same is asked for again", async () => {
  const { client, worker } = await openClient(createClient);
  worker.subscribes = () => LIVE;
  const ended = client.subscribe("SELECT * FROM a.b");
  await settle();
  await standIn(worker);
  const asked = since(worker);
  ended.unsubscribe();
  client.subscribe("SELECT * FROM a.b");
  await settle();
  assert.deepEqual(asked(), ["subscribe"]);
  const { first } = await back(worker);
  assert.deepEqual(first.slice(0, 2), ["unsubscribe", "subscribe"]);
});

test("tables that were made in a stand-in are made at the leader, too", async () => {
  const { client, worker } = await openClient(createClient);
  await standIn(worker);
  const made = client.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY)");
  await worker.answer("write", LOCAL);
  await made;
  const { later } = await back(worker);
  assert.deepEqual(later, ["write"]);
  assert.match(worker.call("write").args[0][0].sql, /^CREATE TABLE mine/);
});

test("lasting storage is asked for once something is ready, also when a stand-in was there first", async () => {
  const asked = [];
  const storage = { persisted: async () => false, persist: async () => asked.push("persist") > 0 };
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { storage }, configurable: true });
  const { client, worker } = await createdClient(createClient);
  client.subscribe("SELECT * FROM a.b");
  worker.say(STAND_IN);
  await settle();
  await back(worker);
  await client.opened;
  assert.deepEqual(asked, ["persist"]);
  delete globalThis.navigator;
  if (before) Object.defineProperty(globalThis, "navigator", before);
});

test("what the silent one has done meanwhile is not done again, and tables come before what was written to them", async () => {
  const { client, worker } = await openClient(createClient);
  const held = client.execute("UPDATE mine SET n = n + 1");
  await settle();
  await standIn(worker);
  answerLast(worker, "write", { ...LOCAL, rowsAffected: 1 });
  await held;
  const made = client.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY)");
  answerLast(worker, "write", LOCAL);
  await made;
  client.execute("INSERT INTO mine VALUES (1)");
  const before = worker.calls.length;
  await back(worker);
  const writes = worker.calls.slice(before).filter(({ op }) => op === "write").map(({ args }) => args[0][0].sql);
  assert.deepEqual(writes, ["CREATE TABLE mine (id INTEGER PRIMARY KEY)", "INSERT INTO mine VALUES (1)"]);
});

test("what is ended waits for what was written before, with a stand-in and without", async () => {
  const { client, worker } = await createdClient(createClient);
  const ended = client.subscribe("SELECT * FROM a.b");
  client.execute("UPDATE");
  ended.unsubscribe();
  worker.say(OPENED);
  assert.deepEqual(worker.ops, ["write", "unsubscribe"]);
  await worker.answer("unsubscribe");
  await standIn(worker);
  client.subscribe("SELECT * FROM a.c").unsubscribe();
  client.execute("UPDATE");
  const { first, later } = await back(worker);
  const order = [...first, ...later].filter((op) => op === "write" || op === "unsubscribe");
  assert.deepEqual(order, ["write", "unsubscribe", "write"]);
});

test("whoever hears of the status as it opens comes after what waited, and is set up once", async () => {
  const { client, worker } = await createdClient(createClient);
  client.execute("first");
  let isFirst = true;
  client.onStatus(() => {
    if (!isFirst) return;
    isFirst = false;
    client.subscribe("SELECT * FROM a.b");
    client.watch("SELECT 1").onResult(() => undefined);
  });
  worker.say(OPENED);
  assert.deepEqual(worker.ops, ["write", "subscribe", "watch"]);
});

test("a stand-in keeps what is known of the last sync, and who gives it a time has an answer by then", async () => {
  const { client, worker } = await openClient(createClient);
  worker.emit({ ...status("connected"), lastSyncedAt: 5_000_000 });
  client.subscribe("SELECT * FROM a.b");
  worker.say(SILENT);
  worker.say(STAND_IN);
  worker.emit(status("connecting"));
  assert.equal(client.status.lastSyncedAt?.getTime(), 5_000);
  const synced = client.syncOnce(1_000);
  await worker.refuse("syncOnce", "timeout");
  await assert.rejects(synced, { code: "timeout" });
});
