// Nothing of a browser is here: as on a server.
import assert from "node:assert/strict";
import { test } from "node:test";

const before = new Set(Object.getOwnPropertyNames(globalThis));

const { createElement: h, Suspense } = await import("react");
const { renderToString } = await import("react-dom/server");
const tidewire = await import("../dist/index.js");

const { TidewireProvider, useLiveQuery, useMutation, useMutationState, usePending, useRejections } = tidewire;
const { useStatus, useSubscription, useSuspenseLiveQuery, useTidewire } = tidewire;

const render = (component) => renderToString(h(TidewireProvider, { client: null }, component));

test("to import it touches nothing of a browser", () => {
  assert.deepEqual(Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name)), []);
  assert.equal(typeof document, "undefined");
});

test("on a server everything is as before the first result", () => {
  let told;
  function Page() {
    const query = useLiveQuery("SELECT * FROM a.b", [new Date()], { subscribe: true });
    const subscription = useSubscription("SELECT * FROM a.b");
    const [pending, rejections, status] = [usePending(), useRejections(), useStatus()];
    const { isPending, written } = useMutation();
    told = { query, subscription: subscription.state, pending: pending.count, rejections, status: status.word, isPending };
    return h("p", null, `${query.state} ${useMutationState(written)}`);
  }
  assert.equal(render(h(Page)), "<p>loading null</p>");
  const query = { rows: [], state: "loading", error: null };
  const expected = { query, subscription: "loading", pending: 0, rejections: [], status: "connecting", isPending: false };
  assert.deepEqual(told, expected);
});

test("a component with handlers is rendered as it is, and what it does with the client while it is rendered is refused", async () => {
  function Good() {
    const client = useTidewire();
    return h("button", { onClick: () => client.pause() }, "pause");
  }
  assert.equal(render(h(Good)), "<button>pause</button>");
  function Bad() {
    void useTidewire().query("SELECT 1");
  }
  assert.throws(() => render(h(Bad)), ({ code, message }) => code === "unsupported" && /client\.query/.test(message));
  let write;
  function Writes() {
    ({ write } = useMutation());
  }
  render(h(Writes));
  await assert.rejects(write("INSERT"), { code: "unsupported" });
});

test("a query that suspends shows the fallback of its boundary", () => {
  function Rows() {
    return useSuspenseLiveQuery("SELECT * FROM a.b").rows.length;
  }
  assert.match(render(h(Suspense, { fallback: h("i", null, "waits") }, h(Rows))), /<i>waits<\/i>/);
  assert.throws(() => render(h(Rows)), { code: "unsupported" });
});
