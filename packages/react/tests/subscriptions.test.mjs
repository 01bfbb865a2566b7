import assert from "node:assert/strict";
import { test } from "node:test";

import { act, emit, h, handles, mount, open, pass, rows, running, settle, Show, StrictMode, Subscribed, within } from "./dom.mjs";
import { LIVE, LOADING } from "../../client/tests/fake.mjs";

const view = (worker, view, at = 0) => ({ type: "subscription", handle: handles(worker, "subscribe")[at], view });
const subscribed = (worker) => running(worker, "subscribe", "release");

test("what StrictMode mounts twice is subscribed to once, and is released when it is gone", async () => {
  const { client, worker } = await open();
  const log = [];
  const options = { fetchLast: 5, batchRows: 10, ttl: 1_000 };
  const element = h(Subscribed, { params: [7], options, log });
  const page = await mount(h(StrictMode, null, within(client, element)));
  await pass();
  assert.deepEqual(worker.ops, ["subscribe"]);
  assert.deepEqual(worker.calls[0].args.slice(1), ["SELECT * FROM a.b", [7], { fetchLast: 5, batchRows: 10, ttlMs: 1_000 }]);
  await emit(worker, view(worker, LIVE));
  assert.deepEqual([log.at(-1).state, log.at(-1).progress.fraction, log.at(-1).error], ["live", 1, null]);
  await page.unmount();
  await pass();
  assert.deepEqual(worker.ops, ["subscribe", "release"]);
});

test("what has not changed is the same object, and another parameter is another subscription", async () => {
  const { client, worker } = await open();
  const log = [];
  const show = (room) => within(client, h(Subscribed, { params: [room], log }));
  const page = await mount(show(7));
  await emit(worker, view(worker, LIVE));
  const before = log.length;
  await emit(worker, view(worker, LIVE));
  assert.equal(log.length, before);
  await page.render(show(7));
  assert.equal(log.at(-1), log.at(-2));
  await page.render(show(8));
  assert.deepEqual(log.slice(before + 1).map(({ state }) => state)[0], "loading");
  await pass();
  assert.deepEqual(subscribed(worker), handles(worker, "subscribe").slice(1));
});

test("a window is made wider, and what cannot be asked is told", async () => {
  const { client, worker } = await open();
  const log = [];
  await mount(within(client, h(Subscribed, { options: { fetchLast: 5 }, log })));
  await act(settle);
  assert.throws(() => log[0].loadOlder(5), { code: "invalid_request" });
  log.at(-1).loadOlder(20);
  assert.deepEqual(worker.call("loadOlder").args, [handles(worker, "subscribe")[0], 20]);
  assert.throws(() => log.at(-1).loadOlder(-1), { code: "invalid_request" });
  const wrong = [];
  await mount(within(client, h(Subscribed, { params: [Symbol("no value")], log: wrong })));
  assert.deepEqual([wrong.at(-1).state, wrong.at(-1).error.code], ["refused", "invalid_request"]);
  worker.subscribes = () => "forbidden";
  const refused = [];
  await mount(within(client, h(Subscribed, { params: [1], log: refused })));
  await act(settle);
  assert.deepEqual([refused.at(-1).state, refused.at(-1).error.code], ["refused", "forbidden"]);
});

test("a query that subscribes asks for its rows before it reads, and is not live before they are here", async () => {
  const { client, worker } = await open();
  const log = [];
  const page = await mount(h(StrictMode, null, within(client, h(Show, { params: [7], options: { subscribe: true }, log }))));
  await pass();
  assert.deepEqual(worker.ops, ["subscribe", "watch"]);
  assert.deepEqual(worker.calls.map(({ args }) => args.slice(1, 3)), Array(2).fill(["SELECT * FROM a.b", [7]]));
  const [handle] = handles(worker);
  await emit(worker, rows(handle, []));
  assert.equal(page.container.textContent, "loading ");
  await emit(worker, rows(handle, [1]));
  assert.equal(page.container.textContent, "cached 1");
  await emit(worker, view(worker, LIVE));
  assert.equal(page.container.textContent, "live 1");
  await emit(worker, view(worker, { ...LIVE, state: "behind" }));
  assert.equal(page.container.textContent, "behind 1");
  // It may stand on more than its subscription.
  await emit(worker, rows(handle, [1], "cached"));
  assert.equal(page.container.textContent, "cached 1");
  await emit(worker, rows(handle, [1]));
  await emit(worker, view(worker, LIVE));
  const { shown } = log.at(-1);
  await page.render(h(StrictMode, null, within(client, h(Show, { params: [7], options: { subscribe: true }, log }))));
  assert.equal(log.at(-1).shown, shown);
  await page.unmount();
  await pass();
  assert.deepEqual([running(worker), subscribed(worker)], [[], []]);
});

test("what a query subscribes to may be another one, which is shared with who asks for it alone", async () => {
  const { client, worker } = await open();
  worker.subscribes = () => LIVE;
  const subscribe = { sql: "SELECT * FROM a.b WHERE room = $1", params: [7], fetchLast: 5 };
  const shows = [
    h(Show, { key: 1, sql: "SELECT * FROM a.b ORDER BY x", options: { subscribe }, log: [] }),
    h(Show, { key: 2, sql: "SELECT * FROM a.b ORDER BY x", log: [] }),
    h(Subscribed, { key: 3, sql: subscribe.sql, params: [7], options: { fetchLast: 5 }, log: [] }),
  ];
  const page = await mount(within(client, ...shows));
  assert.deepEqual(worker.ops, ["subscribe", "watch"]);
  await emit(worker, rows(handles(worker)[0], [1]));
  assert.equal(page.container.textContent, "live 1live 1live");
  // The one without a subscription goes on with the query, and so does the subscription.
  await page.render(within(client, shows[1]));
  await pass();
  assert.deepEqual([running(worker).length, subscribed(worker).length], [1, 0]);
});

test("a changed parameter is loading in the same render, though the next subscription is live at once", async () => {
  const { client, worker } = await open();
  worker.subscribes = () => LIVE;
  const log = [];
  const show = (room) => within(client, h(Show, { params: [room], options: { subscribe: true }, log }));
  const page = await mount(show(7));
  await emit(worker, rows(handles(worker)[0], ["seven"]));
  await page.render(show(8));
  await act(settle);
  await emit(worker, rows(handles(worker)[1], ["eight"]));
  const told = log.map(({ params, state, rows }) => `${params} ${state} ${rows.map(({ x }) => x)}`);
  assert.deepEqual([...new Set(told)], ["7 loading ", "7 live seven", "8 loading ", "8 live eight"]);
});

test("why the server refuses is an error of the query, which shows what is here", async () => {
  const { client, worker } = await open();
  worker.subscribes = () => "forbidden";
  const log = [];
  await mount(within(client, h(Show, { options: { subscribe: true }, log })));
  await emit(worker, rows(handles(worker)[0], [1]));
  assert.deepEqual([log.at(-1).state, log.at(-1).error?.code, log.at(-1).rows.length], ["cached", "forbidden", 1]);
});

test("a subscription that was ended elsewhere is idle, and begins again with the next component", async () => {
  const { client, worker } = await open();
  worker.subscribes = () => LIVE;
  const log = [];
  const page = await mount(within(client, h(Subscribed, { log })));
  await act(settle);
  await emit(worker, view(worker, { ...LOADING, state: "idle" }));
  assert.equal(log.at(-1).state, "idle");
  await page.render(within(client));
  await pass();
  await page.render(within(client, h(Subscribed, { log })));
  await act(settle);
  assert.equal(log.at(-1).state, "live");
});
