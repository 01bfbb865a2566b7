// A page without a browser, and components in it. Import this before anything of React.
import assert from "node:assert/strict";
import { afterEach } from "node:test";

import { Window } from "happy-dom";

const window = new Window({ url: "https://app.example.com/" });
const globals = {
  window,
  document: window.document,
  navigator: window.navigator,
  addEventListener: window.addEventListener.bind(window),
  removeEventListener: window.removeEventListener.bind(window),
};
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
globalThis.IS_REACT_ACT_ENVIRONMENT = true;

const { act, createElement: h, StrictMode } = await import("react");
const { createRoot } = await import("react-dom/client");
const { createClient } = await import("../../client/dist/index.js");
const { openClient, result, settle } = await import("../../client/tests/fake.mjs");
const { TidewireProvider, useLiveQuery, useSubscription } = await import("../dist/index.js");

export { act, h, result, settle, StrictMode };

/** What React complains of. A test that wants some takes it away. */
export const complaints = [];
console.error = (...said) => {
  const text = said.map(String).join(" ");
  // Of the timers of the test itself; and what React 18 says of every error, also of one that a boundary catches.
  if (!/ExperimentalWarning|The above error occurred/.test(text)) complaints.push(text);
};

const roots = new Set();

afterEach(async () => {
  for (const root of roots) await act(() => root.unmount());
  roots.clear();
  assert.deepEqual(complaints.splice(0), []);
});

/** Longer than what nobody shows goes on. */
export const LINGER_MS = 160;

export async function pass(ms = LINGER_MS) {
  await act(() => new Promise((resolve) => setTimeout(resolve, ms)));
}

/** A root on the page, and what it shows. */
export async function mount(element, options = {}) {
  const container = document.createElement("div");
  document.body.append(container);
  const root = createRoot(container, options);
  roots.add(root);
  const render = (element) => act(async () => root.render(element));
  if (element) await render(element);
  return { root, container, render, unmount: () => act(async () => root.unmount()) };
}

/** A client whose core the test is. */
export function open() {
  return openClient(createClient);
}

/** Elements within a provider. */
export function within(client, ...children) {
  return h(TidewireProvider, { client }, ...children);
}

/** A component that shows a query, and notes what each render was given. */
export function Show({ sql = "SELECT * FROM a.b", params, options, log, use = useLiveQuery }) {
  const shown = use(sql, params, options);
  log.push({ params, ...shown, shown });
  return h("p", null, `${shown.state} ${shown.rows.map(({ x }) => x).join()}`);
}

/** The same for a subscription. */
export function Subscribed({ sql = "SELECT * FROM a.b", params, options, log }) {
  const shown = useSubscription(sql, params, options);
  log.push(shown);
  return h("p", null, shown.state);
}

/** The worker tells something, and React renders it. */
export async function emit(worker, ...events) {
  await act(async () => {
    worker.emit(...events);
    await settle();
  });
}

/** All rows anew, each with one column. */
export function rows(handle, values, state = "live", failed = null) {
  const at = values.map((_, at) => at);
  return result(handle, ["x"], values.map(() => -1), values.map((value) => [value]), { inserted: at }, state, failed);
}

/** The handles of a watch or a subscription: one of each call, in their order. */
export function handles(worker, op = "watch") {
  return worker.calls.filter((call) => call.op === op).map(({ args }) => args[0]);
}

/** The handles that are open. */
export function running(worker, begin = "watch", end = "unwatch") {
  const ended = new Set(handles(worker, end));
  return handles(worker, begin).filter((handle) => !ended.has(handle));
}
