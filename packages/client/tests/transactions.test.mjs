import assert from "node:assert/strict";
import { test } from "node:test";

import { error, openClient, OPENED, settle, started } from "./fake.mjs";
import { createClient } from "../dist/index.js";

const WROTE = { id: null, rowsAffected: 1, columns: [], rows: [], state: { state: "local" } };
const RAN = { rowsAffected: 1, columns: [], rows: [] };

/** Hangs, as what waits for a person does. */
const never = () => new Promise(() => undefined);

test("what a transaction throws rolls it back, and is thrown again", async () => {
  const { client, worker } = await openClient(createClient);
  const own = new Error("no");
  const undone = client.transaction(async (tx) => {
    await tx.execute("DELETE");
    throw own;
  });
  await worker.answer("begin");
  await worker.answer("run", RAN);
  await assert.rejects(undone, (thrown) => thrown === own);
  assert.deepEqual(worker.ops, ["begin", "over", "run", "rollback"]);

  const done = client.transaction(async (tx) => (await tx.query("SELECT 1 AS one"))[0].one);
  await worker.answer("begin");
  await worker.answer("run", { rowsAffected: 0, columns: ["one"], rows: [[1]] });
  await worker.answer("commit", WROTE);
  const { value, mutation } = await done;
  assert.equal(value, 1);
  assert.deepEqual(await mutation.decided(), { state: "local" });
});

test("a transaction that is over by itself says why, also while its function hangs", async () => {
  const { client, worker } = await openClient(createClient);
  let leaked;
  const slow = client.transaction((tx) => {
    leaked = tx;
    return never();
  });
  await worker.answer("begin");
  await worker.refuse("over", "timeout", "it has taken too long");
  await assert.rejects(slow, { code: "timeout", message: "it has taken too long" });
  assert.deepEqual(worker.ops, ["begin", "over", "rollback"]);
  await assert.rejects(leaked.execute("DELETE"), { code: "timeout" });
});

test("a transaction ends with its worker, and with the client, also while its function hangs", async () => {
  const { client, worker } = await openClient(createClient);
  const lost = client.transaction(never);
  await worker.answer("begin");
  worker.trap();
  await assert.rejects(lost, ({ code, message }) => code === "internal" && /The transaction is undone/.test(message));
  const next = await started(worker);
  next.say(OPENED);
  assert.deepEqual(next.ops, []);
  const closed = client.transaction(never);
  await next.answer("begin");
  await Promise.all([client.close(), next.answer("close"), assert.rejects(closed, { code: "invalid_request" })]);
});

test("why a transaction cannot begin is told, and not what follows from it", async () => {
  const { client, worker } = await openClient(createClient);
  const offline = client.transaction((tx) => tx.execute("DELETE"), { online: true });
  await worker.answer("begin");
  await worker.refuse("over", "offline", "there is no connection");
  await worker.refuse("run", "invalid_request", "the client is closed");
  await assert.rejects(offline, { code: "offline" });

  const refused = client.transaction((tx) => tx.execute("DELETE"), { queue: "" });
  await Promise.all([worker.posted("run"), worker.refuse("begin", "invalid_request", "a queue has a name")]);
  await worker.refuse("run", "cancelled", "there is no such transaction");
  await assert.rejects(refused, { message: "a queue has a name" });

  const own = new Error("no");
  const both = client.transaction(async (tx) => {
    await tx.execute("DELETE").catch(() => undefined);
    throw own;
  });
  await worker.answer("begin");
  await worker.refuse("run", "offline");
  await assert.rejects(both, (thrown) => thrown === own);

  // A statement that fails is no end, so it is thrown as it is.
  const failed = client.transaction((tx) => tx.execute("INSERT"));
  await worker.answer("begin");
  await worker.refuse("run", "constraint");
  await assert.rejects(failed, { code: "constraint" });
});

test("a transaction that waits for a worker goes to the one that comes, and is given up there", async () => {
  const { client, worker } = await openClient(createClient);
  worker.trap();
  const own = new Error("no");
  const undone = client.transaction(async (tx) => {
    await tx.execute("DELETE");
    throw own;
  });
  // The storage is still held by the one that has ended.
  const refused = await started(worker);
  refused.say({ type: "refused", error: error("internal", "in use") });
  const next = await started(refused);
  next.say(OPENED);
  await next.answer("begin");
  await next.answer("run", RAN);
  await assert.rejects(undone, (thrown) => thrown === own);
  assert.deepEqual(next.ops, ["begin", "over", "run", "rollback"]);

  // One that throws before there is a worker leaves nothing open there either.
  next.trap();
  await assert.rejects(
    client.transaction(() => {
      throw own;
    }),
    (thrown) => thrown === own,
  );
  const last = await started(next);
  last.say(OPENED);
  await settle();
  assert.deepEqual(last.ops, ["begin", "over", "rollback"]);
});

test("of a commit whose answer is lost it is asked whether it happened, before anything says that it is answered", async () => {
  const { client, worker } = await openClient(createClient);
  const committed = client.transaction((tx) => tx.execute("INSERT"));
  await worker.answer("begin");
  await worker.answer("run", RAN);
  await worker.posted("commit");
  const written = client.execute("INSERT");
  await worker.posted("write");
  worker.trap();
  const next = await started(worker);
  next.say(OPENED);
  const { client: name, number } = worker.call("begin").args[1].request;
  assert.deepEqual(next.ops, ["answer", "write"]);
  assert.deepEqual(next.call("answer").args, [name, number]);
  assert.ok(next.call("write").args[1].request.answered <= number, "the next worker may forget what it is asked for");
  await next.answer("answer", { id: 7, rowsAffected: 1, columns: [], rows: [], state: { state: "queued" } });
  assert.equal((await committed).mutation.id, 7);
  await next.answer("write", { id: 8, rowsAffected: 1, columns: [], rows: [], state: { state: "queued" } });
  await written;
  client.execute("INSERT").catch(() => undefined);
  assert.ok((await next.posted("write")).args[1].request.answered > number);

  const undone = client.transaction((tx) => tx.execute("INSERT"));
  await next.answer("begin");
  await next.answer("run", RAN);
  await next.posted("commit");
  next.trap();
  const last = await started(next);
  last.say(OPENED);
  await Promise.all([last.answer("answer", undefined), assert.rejects(undone, /is undone: start it again/)]);
});
