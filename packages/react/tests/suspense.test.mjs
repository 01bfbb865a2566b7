import assert from "node:assert/strict";
import { test } from "node:test";

import { act, emit, h, handles, mount, open, pass, rows, running, settle, Show, StrictMode, within } from "./dom.mjs";
import { LIVE, LOADING, status } from "../../client/tests/fake.mjs";
import { useSuspenseLiveQuery } from "../dist/index.js";

const { Component, startTransition, Suspense, useState } = await import("react");

const QUERY = { use: useSuspenseLiveQuery };

/** Shows what was thrown, until it is reset. */
class Boundary extends Component {
  state = { error: null };

  static getDerivedStateFromError(error) {
    return { error };
  }

  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return h("button", { onClick: () => this.setState({ error: null }) }, `failed ${error.code}`);
  }
}

function suspended(client, props) {
  const shown = h(Suspense, { fallback: h("i", null, "waits") }, h(Show, { ...QUERY, log: [], ...props }));
  return h(StrictMode, null, within(client, h(Boundary, null, shown)));
}

const caught = { onCaughtError: () => undefined };

test("a query suspends until there is a result, is watched once, and ends when it is gone", async () => {
  const { client, worker } = await open();
  const page = await mount(suspended(client, {}));
  assert.equal(page.container.textContent, "waits");
  const [handle] = handles(worker);
  await emit(worker, rows(handle, [], "loading"));
  assert.equal(page.container.textContent, "waits");
  await pass();
  await emit(worker, rows(handle, [1]));
  assert.equal(page.container.textContent, "live 1");
  // There may be no row and more to come again: what was shown is not taken away.
  await emit(worker, rows(handle, [], "loading"));
  assert.equal(page.container.textContent, "loading ");
  await page.unmount();
  await pass();
  assert.deepEqual(worker.ops, ["watch", "unwatch"]);
});

test("an empty result is one", async () => {
  const { client, worker } = await open();
  const page = await mount(suspended(client, {}));
  await emit(worker, rows(handles(worker)[0], []));
  assert.equal(page.container.textContent, "live ");
});

test("what is suspended and given up ends, and what still waits then goes on", async (t) => {
  const { client, worker } = await open();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const gone = await mount(suspended(client, { params: ["gone"] }));
  const waits = await mount(suspended(client, { params: ["waits"] }));
  await gone.unmount();
  await act(async () => {
    t.mock.timers.tick(10_000);
    await settle();
  });
  assert.deepEqual(worker.ops, ["watch", "watch", "unwatch", "unwatch", "watch"]);
  assert.deepEqual(running(worker), handles(worker).slice(2));
  await emit(worker, rows(running(worker)[0], [1]));
  assert.equal(waits.container.textContent, "live 1");
});

test("what is wrong before there is a result is thrown, and is asked anew when it is tried again", async () => {
  const { client, worker } = await open();
  const page = await mount(suspended(client, {}), caught);
  const failed = { code: "invalid_request", message: "no such column", documentation: "", retryAfterMs: null };
  await emit(worker, rows(handles(worker)[0], [], "behind", failed));
  assert.equal(page.container.textContent, "failed invalid_request");
  await pass();
  assert.deepEqual(running(worker), []);
  await act(async () => page.container.querySelector("button").click());
  assert.equal(page.container.textContent, "waits");
  await emit(worker, rows(running(worker)[0], [1]));
  assert.equal(page.container.textContent, "live 1");
  // From then on there are rows to show.
  await emit(worker, rows(running(worker)[0], [1], "behind", failed));
  assert.equal(page.container.textContent, "behind 1");
});

test("a subscription begins with it, and it waits for that", async () => {
  const { client, worker } = await open();
  const views = [LOADING];
  worker.subscribes = () => views.shift();
  const page = await mount(suspended(client, { options: { subscribe: true } }));
  assert.deepEqual(worker.ops, ["subscribe", "watch"]);
  await emit(worker, rows(handles(worker)[0], []));
  assert.equal(page.container.textContent, "waits");
  await emit(worker, { type: "subscription", handle: handles(worker, "subscribe")[0], view: LIVE });
  assert.equal(page.container.textContent, "live ");
  await page.unmount();
  await pass();
  assert.deepEqual(worker.ops.slice(2).sort(), ["release", "unwatch"]);
});

test("a subscription that is refused is thrown, and one that begins later is waited for", async () => {
  const { client, worker } = await open();
  worker.subscribes = ({ args }) => (args[1] === "SELECT refused" ? "forbidden" : "quota");
  const show = (sql) => suspended(client, { sql, options: { subscribe: true } });
  const [refused, later] = [await mount(show("SELECT refused"), caught), await mount(show("SELECT later"), caught)];
  await act(settle);
  await emit(worker, ...handles(worker).map((handle) => rows(handle, [])));
  assert.equal(refused.container.textContent, "failed forbidden");
  assert.equal(later.container.textContent, "waits");
  worker.subscribes = () => LIVE;
  await emit(worker, status("connected"));
  assert.equal(later.container.textContent, "live ");
});

test("a client that is closed is thrown", async () => {
  const { client, worker } = await open();
  const before = await mount(suspended(client, {}), caught);
  await act(async () => {
    await Promise.all([client.close(), worker.answer("close")]);
  });
  const after = await mount(suspended(client, { params: [1] }), caught);
  for (const { container } of [before, after]) assert.equal(container.textContent, "failed invalid_request");
});

test("in a transition the screen stays until the next result is there", async () => {
  const { client, worker } = await open();
  let change;
  function Rooms() {
    const [room, setRoom] = useState(7);
    change = (room) => startTransition(() => setRoom(room));
    return h(Show, { ...QUERY, params: [room], log: [] });
  }
  const page = await mount(within(client, h(Suspense, { fallback: "waits" }, h(Rooms))));
  await emit(worker, rows(handles(worker)[0], ["seven"]));
  await act(async () => change(8));
  assert.equal(page.container.textContent, "live seven");
  // It goes on meanwhile.
  await emit(worker, rows(handles(worker)[0], ["seven", "more"]));
  assert.equal(page.container.textContent, "live seven,more");
  await emit(worker, rows(handles(worker).at(-1), ["eight"]));
  assert.equal(page.container.textContent, "live eight");
  await pass();
  assert.equal(running(worker).length, 1);
});
