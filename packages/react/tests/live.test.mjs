import assert from "node:assert/strict";
import { test } from "node:test";

import { act, complaints, emit, h, handles, mount, open, pass, rows, running, Show, StrictMode, within } from "./dom.mjs";
import { result } from "../../client/tests/fake.mjs";
import { useLiveQuery, useTidewire } from "../dist/index.js";

test("what StrictMode mounts twice is watched once, and ends when it is gone", async () => {
  const { client, worker } = await open();
  const page = await mount(h(StrictMode, null, within(client, h(Show, { log: [] }))));
  assert.deepEqual(handles(worker).length, 1);
  await pass();
  assert.deepEqual(running(worker), handles(worker));
  await emit(worker, rows(handles(worker)[0], [1, 2]));
  assert.equal(page.container.textContent, "live 1,2");
  await page.unmount();
  await pass();
  assert.deepEqual(running(worker), []);
  assert.deepEqual(worker.ops, ["watch", "unwatch"]);
});

test("a component that takes the place of another one finds the rows of its query", async () => {
  const { client, worker } = await open();
  const log = [];
  const page = await mount(within(client, h(Show, { key: "one", log: [] })));
  await emit(worker, rows(handles(worker)[0], [1]));
  await page.render(within(client, h(Show, { key: "another", log })));
  assert.deepEqual(log.map(({ state }) => state), ["live"]);
  // Also when there was none for a moment.
  await page.render(within(client));
  await page.render(within(client, h(Show, { key: "third", log })));
  await pass();
  assert.deepEqual(log.map(({ state }) => state), ["live", "live"]);
  assert.deepEqual(worker.ops, ["watch"]);
  await page.render(within(client));
  await pass();
  assert.deepEqual(worker.ops, ["watch", "unwatch"]);
});

test("components that show the same query share it, and those that do not, do not", async () => {
  const { client, worker } = await open();
  const same = [[1, new Date(5), { a: 1 }, new Uint8Array([1])], [1, new Date(5), { a: 1 }, new Uint8Array([1])]];
  const others = [[1], ["1"], [1n], [true], [null], [-0], [0], [new Date(1)], [[1]], [new Uint8Array([1])], [{ a: 1 }], []];
  const show = (params, at) => h(Show, { key: at, params, log: [] });
  const page = await mount(within(client, ...same.map(show)));
  assert.equal(handles(worker).length, 1);
  await page.render(within(client, ...[...same, ...others].map(show)));
  assert.equal(handles(worker).length, 1 + others.length);
  const keyed = [{ key: ["x"] }, { whileHidden: true }].map((options, at) => h(Show, { key: at, options, log: [] }));
  await page.render(within(client, ...keyed));
  assert.equal(handles(worker).length, 1 + others.length + 2);
  assert.deepEqual(worker.call("watch").args.length, 3);
  assert.deepEqual(worker.calls.find(({ args }) => args[3])?.args[3], ["x"]);
});

test("a changed parameter never shows rows or state of the query before", async () => {
  const { client, worker } = await open();
  const log = [];
  const show = (room) => within(client, h(Show, { params: [room], log }));
  const page = await mount(show(7));
  await emit(worker, rows(handles(worker)[0], ["seven"]));
  await page.render(show(8));
  // What comes late of the query before is nobody's.
  await emit(worker, rows(handles(worker)[0], ["seven", "again"]));
  await emit(worker, rows(handles(worker)[1], ["eight"]));
  const told = log.map(({ params, state, rows }) => `${params} ${state} ${rows.map(({ x }) => x)}`);
  assert.deepEqual(told, ["7 loading ", "7 live seven", "8 loading ", "8 live eight"]);
  await pass();
  assert.deepEqual(running(worker), handles(worker).slice(1));
});

test("another client is another query", async () => {
  const [one, other] = [await open(), await open()];
  const log = [];
  const page = await mount(within(one.client, h(Show, { log })));
  await emit(one.worker, rows(handles(one.worker)[0], [1]));
  await page.render(within(other.client, h(Show, { log })));
  assert.deepEqual(log.map(({ state }) => state), ["loading", "live", "loading"]);
  await pass();
  assert.deepEqual([running(one.worker).length, running(other.worker).length], [0, 1]);
});

test("what has not changed is the same object: the result, its rows, each row", async () => {
  const { client, worker } = await open();
  const log = [];
  const show = () => within(client, h(Show, { params: [7, new Date(1)], log }));
  const page = await mount(show());
  const [handle] = handles(worker);
  await emit(worker, rows(handle, [1, 2]));
  const first = log.at(-1).shown;
  await page.render(show());
  assert.equal(log.at(-1).shown, first);
  const before = log.length;
  await emit(worker, result(handle, ["x"], [0, 1], []));
  assert.equal(log.length, before);
  await emit(worker, result(handle, ["x"], [1, -1], [[3]], { removed: [0], inserted: [1] }));
  assert.equal(log.at(-1).rows[0], first.rows[1]);
  await emit(worker, result(handle, ["x"], [0, 1], [], {}, "behind"));
  assert.equal(log.at(-1).rows, log.at(-2).rows);
  assert.deepEqual(log.slice(-2).map(({ state }) => state), ["live", "behind"]);
});

test("what is wrong with a query is shown, with the rows before, and so is what cannot be asked", async () => {
  const { client, worker } = await open();
  const log = [];
  const page = await mount(within(client, h(Show, { log })));
  const [handle] = handles(worker);
  await emit(worker, rows(handle, [1]));
  const failed = { code: "not_found", message: "no such table", documentation: "", retryAfterMs: null };
  await emit(worker, result(handle, ["x"], [0], [], {}, "behind", failed));
  assert.deepEqual([log.at(-1).error.code, log.at(-1).rows], ["not_found", [{ x: 1 }]]);
  await page.render(within(client, h(Show, { params: [() => undefined], log })));
  assert.deepEqual([log.at(-1).error.code, log.at(-1).state], ["invalid_request", "loading"]);
  await page.render(within(client, h(Show, { params: [() => undefined], log })));
  assert.equal(worker.ops.filter((op) => op === "watch").length, 1);
});

test("when the client is closed what was live is behind, and what is asked later is loading", async () => {
  const { client, worker } = await open();
  const log = [];
  const page = await mount(within(client, h(Show, { log })));
  await emit(worker, rows(handles(worker)[0], [1]));
  await act(async () => {
    await Promise.all([client.close(), worker.answer("close")]);
  });
  const { state, rows: last, error } = log.at(-1);
  assert.deepEqual({ state, last, error }, { state: "behind", last: [{ x: 1 }], error: null });
  await page.render(within(client, h(Show, { params: [2], log })));
  assert.deepEqual([log.at(-1).state, log.at(-1).error], ["loading", null]);
});

test("a client that cannot go on is an error of every query", async () => {
  const { client, worker } = await open();
  const log = [];
  await mount(within(client, h(Show, { log })));
  await act(async () => {
    const error = { code: "update_required", message: "too old", documentation: "", retryAfterMs: null };
    worker.say({ type: "ended", error });
  });
  assert.equal(log.at(-1).error.code, "update_required");
});

test("results of one step are rendered together", async () => {
  const { client, worker } = await open();
  const seen = [];
  function Both() {
    const all = useLiveQuery("SELECT * FROM a.b");
    const count = useLiveQuery("SELECT count(*) AS n FROM a.b");
    seen.push([all.rows.length, count.rows[0]?.x ?? 0]);
    return null;
  }
  await mount(within(client, h(Both)));
  const [all, count] = handles(worker);
  await emit(worker, rows(all, [1, 2]), rows(count, [2]));
  await emit(worker, rows(all, [1, 2, 3]), rows(count, [3]));
  assert.deepEqual(seen, [[0, 0], [2, 2], [3, 3]]);
});

test("outside of a provider there is a sentence about it", async () => {
  function Lost() {
    useTidewire();
  }
  let thrown;
  await mount(h(Lost), { onUncaughtError: (error) => (thrown = error) }).catch((error) => (thrown = error));
  assert.equal(thrown?.code, "invalid_request");
  assert.match(thrown.message, /TidewireProvider/);
  complaints.length = 0;
});
