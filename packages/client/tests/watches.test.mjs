import assert from "node:assert/strict";
import { test } from "node:test";

import { createdClient, error, openClient, OPENED, result, settle, started } from "./fake.mjs";
import { applyDiff, createClient } from "../dist/index.js";

test("a watch on a client that cannot be opened says why, also to who comes later, and loops end", async () => {
  const { client, worker } = await createdClient(createClient);
  const told = [];
  const see = (who) => (it) => told.push([who, it.error?.code, it.rows.length]);
  const watch = client.watch("SELECT * FROM a");
  watch.onResult(see("before"));
  const loop = (async () => {
    for await (const it of watch) see("loop")(it);
  })();
  const closed = client.watch("SELECT * FROM a");
  closed.close();
  worker.say({ type: "refused", error: error("update_required") });
  await loop;
  watch.onResult(see("after"));
  client.watch("SELECT * FROM b").onResult(see("another"));
  for await (const it of client.watch("SELECT * FROM c")) see("later loop")(it);
  closed.onResult(see("closed"));
  await settle();
  const who = ["before", "loop", "later loop", "after", "another"];
  assert.deepEqual(told.sort(), who.map((it) => [it, "update_required", 0]).sort());
});

test("a client that is closed by itself tells no watch of an error", async () => {
  const { client, worker } = await openClient(createClient);
  const watch = client.watch("SELECT * FROM a");
  const told = [];
  watch.onResult(({ error }) => told.push(error));
  worker.emit(result("w1", ["x"], [], []));
  await Promise.all([client.close(), worker.answer("close")]);
  for (const later of [watch, client.watch("SELECT * FROM b")]) later.onResult(({ error }) => told.push(error));
  await settle();
  assert.deepEqual(told, [null]);
});

test("who asks an iterator twice at once is given one result after the other", async () => {
  const { client, worker } = await openClient(createClient);
  const iterator = client.watch("SELECT * FROM a")[Symbol.asyncIterator]();
  const [first, second, third] = [iterator.next(), iterator.next(), iterator.next()];
  await settle();
  worker.emit(result("w1", ["x"], [-1], [[1]], { inserted: [0] }));
  assert.deepEqual((await first).value.rows, [{ x: 1 }]);
  worker.emit(result("w1", ["x"], [0, -1], [[2]], { inserted: [1] }));
  assert.deepEqual((await second).value.rows, [{ x: 1 }, { x: 2 }]);
  await iterator.return();
  assert.deepEqual(await third, { done: true, value: undefined });
});

test("who has left is given nothing more", async () => {
  const { client, worker } = await openClient(createClient);
  const watch = client.watch("SELECT * FROM a");
  watch.onResult(() => undefined);
  const iterator = watch[Symbol.asyncIterator]();
  worker.emit(result("w1", ["x"], [-1], [[1]], { inserted: [0] }));
  let isTold = false;
  const leave = watch.onResult(() => (isTold = true));
  leave();
  await settle();
  assert.equal(isTold, false);
  await iterator.return();
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
});

/** What a watch tells before and after its worker has stopped. */
async function overRestart(first, second) {
  const { client, worker } = await openClient(createClient);
  const results = [];
  client.watch("SELECT * FROM a").onResult((it) => results.push(it));
  worker.emit(first);
  worker.trap();
  const next = await started(worker);
  next.say(OPENED);
  for (const result of [second].flat()) next.emit(result);
  return results;
}

const COLUMNS = ["id", "body", "raw"];
const all = (rows, diff = {}) =>
  result("w1", COLUMNS, rows.map(() => -1), rows, { inserted: rows.map((_, at) => at), ...diff });

test("over a stop of the worker unchanged rows stay the same objects, and the difference is the true one", async () => {
  const raw = new Uint8Array([1, 2]);
  const before = [[1, "a", raw], [2, "b", null], [3, "c", null], [4, "d", 5n]];
  const after = [[4, "d", 5n], [1, "a", new Uint8Array([1, 2])], [2, "B", null], [9, "new", null]];
  const [first, down, second] = await overRestart(all(before, { key: ["id"] }), all(after, { key: ["id"] }));
  assert.deepEqual(second.diff, {
    key: ["id"],
    removed: [2],
    inserted: [3],
    updated: [{ from: 1, to: 2 }],
    moved: [{ from: 3, to: 0 }],
  });
  assert.equal(down.rows, first.rows);
  assert.equal(second.rows[0], first.rows[3]);
  assert.equal(second.rows[1], first.rows[0]);
  assert.notEqual(second.rows[2], first.rows[1]);
  assert.deepEqual(second.rows.map(({ body }) => body), ["d", "a", "B", "new"]);
  assert.deepEqual(applyDiff([..."abcd"], second.rows, second.diff, ({ body }) => `new ${body}`), ["d", "a", "new B", "new new"]);
});

test("without a key, rows are found again as wholes, and each of several that are equal once", async () => {
  const before = [[1, "a", null], [1, "a", null], [2, "b", null]];
  const after = [[1, "a", null], [1, "a", null], [1, "a", null], [2, "c", null]];
  const [first, , second] = await overRestart(all(before), all(after));
  assert.deepEqual(second.diff, { key: [], removed: [2], inserted: [2, 3], updated: [], moved: [] });
  assert.equal(second.rows[0], first.rows[0]);
  assert.equal(second.rows[1], first.rows[1]);
});

test("when all rows are there again the list is the same, and the next result builds on it", async () => {
  const rows = [[1, "a", null], ["1", "a", null]];
  const failed = result("w1", [], [], [], {}, "loading", error("internal"));
  const next = result("w1", COLUMNS, [1], [], { removed: [0] });
  const [first, down, wrong, again, last] = await overRestart(all(rows), [failed, all(rows), next]);
  assert.equal(wrong.rows, first.rows);
  assert.equal(wrong.error.code, "internal");
  assert.equal(again.rows, first.rows);
  assert.equal(again.error, null);
  for (const { diff } of [down, wrong, again]) {
    assert.deepEqual(diff, { key: [], removed: [], inserted: [], updated: [], moved: [] });
  }
  assert.deepEqual(last.rows, [first.rows[1]]);
  assert.equal(last.rows[0], first.rows[1]);
});

test("other columns are other rows", async () => {
  const other = result("w1", ["id", "title", "raw"], [-1], [[1, "a", null]], { inserted: [0] });
  const [, , second] = await overRestart(all([[1, "a", null]]), other);
  assert.deepEqual([second.diff.removed, second.diff.inserted], [[0], [0]]);
  assert.deepEqual(second.rows, [{ id: 1, title: "a", raw: null }]);
});
