import assert from "node:assert/strict";
import { test } from "node:test";

import { createdClient, error, LIVE, LOADING, openClient, OPENED, result, settle, started, status } from "./fake.mjs";
import { createClient } from "../dist/index.js";

const asked = (worker) => worker.calls.filter(({ op }) => op === "subscribe").length;

test("a subscription that ends before the core is open is ended there, too", async () => {
  const { client, worker } = await createdClient(createClient);
  const released = client.subscribe("SELECT * FROM a.b");
  released.release();
  await assert.rejects(released.ready(), { code: "cancelled" });
  client.subscribe("SELECT * FROM a.c").unsubscribe();
  worker.say(OPENED);
  assert.deepEqual(worker.calls.map(({ op, args }) => `${op} ${args[1] ?? ""}`), ["unsubscribe SELECT * FROM a.c"]);
});

test("a subscription may be released, and asked for more, before the core has answered", async () => {
  const { client, worker } = await openClient(createClient);
  const wider = client.subscribe("SELECT * FROM a.b", [], { fetchLast: 5 });
  wider.loadOlder(5);
  const released = client.subscribe("SELECT * FROM a.c");
  const changes = [];
  released.onChange(({ state }) => changes.push(state));
  released.release();
  assert.deepEqual(worker.ops, ["subscribe", "loadOlder", "subscribe", "release"]);
  await settle();
  // What the core had answered by then is nobody's.
  assert.deepEqual(changes, ["idle"]);
  assert.equal(released.state, "idle");
  assert.equal(wider.state, "loading");
  for (const rows of [1.5, -1, Number.NaN, "5"]) assert.throws(() => wider.loadOlder(rows), { code: "invalid_request" });
  assert.throws(() => released.loadOlder(5), { code: "invalid_request" });
});

test("a subscription whose twin was ended is over, and is not set up again", async () => {
  const { client, worker } = await openClient(createClient);
  const subscription = client.subscribe("SELECT * FROM a.b");
  const ready = assert.rejects(subscription.ready(), { code: "cancelled" });
  await settle();
  worker.emit({ type: "subscription", handle: subscription.handle, view: { ...LOADING, state: "idle" } });
  await ready;
  assert.equal(subscription.state, "idle");
  assert.throws(() => subscription.reset(), { code: "invalid_request" });
  worker.trap();
  const next = await started(worker);
  next.say(OPENED);
  assert.deepEqual(next.ops, []);
});

test("while the worker is down nothing is live, and all of it is told as one step", async () => {
  const { client, worker } = await openClient(createClient);
  worker.subscribes = () => LIVE;
  const subscription = client.subscribe("SELECT * FROM a.b");
  const watch = client.watch("SELECT * FROM a.b");
  const told = [];
  const tell = (what) => told.push([what, subscription.state, watch.result?.state, client.status.word]);
  let last;
  watch.onResult((it) => {
    last = it;
    tell("result");
  });
  subscription.onChange(() => tell("subscription"));
  client.onStatus(() => tell("status"));
  await subscription.ready();
  worker.emit(result("w2", ["x"], [-1], [[1]], { inserted: [0] }), status("connected"));
  told.length = 0;
  worker.trap();
  const down = ["behind", "behind", "error"];
  assert.deepEqual(told.sort(), [["result", ...down], ["status", ...down], ["subscription", ...down]]);
  assert.deepEqual(last.diff, { key: [], removed: [], inserted: [], updated: [], moved: [] });
  assert.deepEqual(last.rows, [{ x: 1 }]);
});

test("what is subscribed to while it is suspended is set up when it is resumed", async () => {
  const { client, worker } = await openClient(createClient);
  await Promise.all([client.suspend(1_000), worker.answer("suspend")]);
  assert.deepEqual(worker.call("suspend").args, [1_000]);
  worker.subscribes = () => "cancelled";
  const subscription = client.subscribe("SELECT * FROM a.b");
  const states = [];
  subscription.onChange(({ state, error }) => states.push([state, error?.code]));
  await settle();
  // It is not refused: why it does not begin is said all the same.
  assert.deepEqual(states, [["loading", "cancelled"]]);
  const never = client.subscribe("SELECT * FROM a.c");
  await settle();
  never.release();
  worker.subscribes = () => LIVE;
  const before = asked(worker);
  client.resume();
  await subscription.ready();
  assert.deepEqual(states.at(-1), ["live", undefined]);
  // Who was released meanwhile is not asked for.
  assert.equal(asked(worker), before + 1);
  assert.deepEqual(worker.ops.slice(-2), ["resume", "subscribe"]);
});

test("what was refused because it was suspended is asked again when that was over already", async () => {
  const { client, worker } = await openClient(createClient);
  const views = ["cancelled", LIVE];
  worker.subscribes = () => views.shift();
  const subscription = client.subscribe("SELECT * FROM a.b");
  client.resume();
  await subscription.ready();
  assert.deepEqual(views, []);
});

test("what cannot be set up because the disk is in trouble is set up when that is over", async () => {
  const { client, worker } = await openClient(createClient);
  const views = ["quota", "internal", LIVE];
  worker.subscribes = () => views.shift();
  const subscription = client.subscribe("SELECT * FROM a.b");
  await settle();
  for (const word of ["disk_full", "offline", "error", "connected"]) {
    worker.emit(status(word));
    await settle();
  }
  assert.deepEqual(views, []);
  assert.equal(subscription.state, "live");
  assert.equal(subscription.error, null);
});

test("what is wrong with a subscription itself is refused", async () => {
  const { client, worker } = await openClient(createClient);
  for (const code of ["invalid_request", "not_found", "forbidden", "unsupported"]) {
    worker.subscribes = () => code;
    const subscription = client.subscribe("SELECT * FROM a.b");
    await assert.rejects(subscription.ready(), { code });
    assert.equal(subscription.state, "refused");
  }
  const before = asked(worker);
  client.resume();
  await settle();
  assert.equal(asked(worker), before);
});

test("rejections are told when it is resumed, and a worker that takes over is suspended as well", async () => {
  const { client, worker } = await openClient(createClient);
  await Promise.all([client.suspend(500), worker.answer("suspend")]);
  await assert.rejects(client.suspend(Number.NaN), { code: "invalid_request" });
  const told = [];
  client.onRejections((rejections) => told.push(rejections.length));
  await worker.refuse("rejections", "cancelled");
  await settle();
  client.resume();
  await worker.answer("resume");
  await worker.answer("rejections", []);
  await settle();
  assert.deepEqual(told, [0]);

  await Promise.all([client.suspend(500), worker.answer("suspend")]);
  worker.trap();
  const next = await started(worker);
  next.say(OPENED);
  assert.deepEqual(next.opened.opening.rest, { within: 500 });
  assert.deepEqual(next.ops, ["rejections"]);

  // What is asked for while there is no worker comes to the next one in its order.
  next.trap();
  const suspended = client.suspend(600);
  client.resume();
  const last = await started(next);
  last.say(OPENED);
  await last.answer("suspend");
  await suspended;
  assert.deepEqual(last.ops, ["rejections", "suspend", "resume", "rejections"]);
});

test("who cannot sign out because files stay is signed out all the same", async () => {
  const { client, worker } = await openClient(createClient);
  for (const code of ["conflict", "invalid_request"]) {
    const refused = assert.rejects(client.signOut("wipe"), { code });
    await worker.refuse("signOut", code);
    await refused;
    assert.ok(!worker.isTerminated);
  }
  const failed = assert.rejects(client.signOut("wipe", { discardPending: true }), { code: "internal" });
  await worker.refuse("signOut", "internal", "a file cannot be removed");
  await failed;
  assert.ok(worker.isTerminated);
  assert.equal(client.status.word, "closed");
  await assert.rejects(client.query("SELECT 1"), { code: "invalid_request" });
});

test("a worker that stops while it signs out is no answer, and the next one is asked", async () => {
  const { client, worker } = await openClient(createClient);
  const signedOut = client.signOut("wipe");
  await worker.posted("signOut");
  worker.trap();
  const next = await started(worker);
  next.say(OPENED);
  await Promise.all([signedOut, next.answer("signOut")]);
  assert.equal(client.status.word, "closed");
});

test("in which a worker stops twice is not asked for a third time, and what the server was asked for has its name", async () => {
  const { client, worker } = await openClient(createClient);
  const remote = assert.rejects(
    client.remote("INSERT"),
    ({ code, message }) => code === "internal" && /is not known: ask it/.test(message),
  );
  await worker.posted("remote");
  worker.trap();
  const next = await started(worker);
  next.say(OPENED);
  const { requestId } = next.call("remote").args[2];
  assert.equal(requestId.length, 16);
  assert.deepEqual(requestId, worker.call("remote").args[2].requestId);
  next.trap();
  await remote;
  const last = await started(next);
  last.say(OPENED);
  assert.deepEqual(last.ops, []);
});

test("a subscription to a client that cannot be opened says why", async () => {
  const { client, worker } = await createdClient(createClient);
  const before = client.subscribe("SELECT * FROM a.b");
  worker.say({ type: "refused", error: error("update_required") });
  const after = client.subscribe("SELECT * FROM a.b");
  for (const subscription of [before, after]) {
    await assert.rejects(subscription.ready(), { code: "update_required" });
    assert.equal(subscription.state, "idle");
    assert.equal(subscription.error.code, "update_required");
  }
});
