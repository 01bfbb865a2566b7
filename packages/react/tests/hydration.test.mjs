import assert from "node:assert/strict";
import { test } from "node:test";

import { act, emit, h, handles, open, pass, rows, running, Show, within } from "./dom.mjs";
import { status } from "../../client/tests/fake.mjs";
import { useStatus, useSuspenseLiveQuery } from "../dist/index.js";

const { Suspense } = await import("react");
const { hydrateRoot } = await import("react-dom/client");
const { renderToString } = await import("react-dom/server");

test("what a server has rendered is taken over, and goes on with the client", async (t) => {
  const Word = () => h("b", null, useStatus().word);
  const app = (client, log = []) => {
    const waits = h(Suspense, { fallback: h("i", null, "waits") }, h(Show, { use: useSuspenseLiveQuery, params: [1], log }));
    return within(client, h(Word), h(Show, { log }), waits);
  };
  const container = document.createElement("div");
  document.body.append(container);
  container.innerHTML = renderToString(app(null));
  assert.equal(container.textContent, "connectingloading waits");
  const { client, worker } = await open();
  worker.emit(status("connected"));
  const [log, mended] = [[], []];
  const onRecoverableError = ({ message, cause }) => mended.push(cause?.message ?? message);
  let root;
  await act(async () => void (root = hydrateRoot(container, app(client, log), { onRecoverableError })));
  t.after(async () => {
    await act(() => root.unmount());
    await pass();
    assert.deepEqual(running(worker), []);
  });
  assert.equal(container.textContent, "connectedloading waits");
  assert.equal(handles(worker).length, 2);
  await emit(worker, ...handles(worker).map((handle) => rows(handle, [handle])));
  assert.match(container.textContent, /^connectedlive w\dlive w\d$/);
  // Only that the server has left something to the browser is told: nothing was different.
  assert.ok(mended.every((told) => !/hydrat|match/i.test(told)), mended.join());
});
