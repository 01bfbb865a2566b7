import assert from "node:assert/strict";
import { test } from "node:test";

import { emit, h, handles, mount, open, rows, within } from "./dom.mjs";
import { useLiveQuery } from "../dist/index.js";

const { startTransition, useLayoutEffect, useState } = await import("react");

const SHOWN = 40;

/** Takes so long to render that React does something else before all are. */
function Slow({ onRender, onCommit }) {
  const { rows, state } = useLiveQuery("SELECT * FROM a.b");
  const shown = `${state} ${rows.map(({ x }) => x).join()}`;
  const end = performance.now() + 3;
  while (performance.now() < end);
  onRender(shown);
  useLayoutEffect(onCommit);
  return h("p", null, shown);
}

test("components that are rendered a few at a time never show two results at once", async () => {
  const { client, worker } = await open();
  const [rendered, screens] = [[], []];
  let page;
  let show;
  const look = () => {
    const shown = new Set([...page.container.querySelectorAll("p")].map(({ textContent }) => textContent));
    screens.push([...shown].join(" | "));
  };
  function List() {
    const [count, setCount] = useState(1);
    show = setCount;
    const props = { onRender: (shown) => rendered.push(shown), onCommit: look };
    return Array.from({ length: count }, (_, at) => h(Slow, { key: at, ...props }));
  }
  page = await mount();
  await page.render(within(client, h(List)));
  await emit(worker, rows(handles(worker)[0], [1]));
  rendered.length = 0;
  // As a browser does it, and not as `act` does, which renders all at once.
  globalThis.IS_REACT_ACT_ENVIRONMENT = false;
  try {
    startTransition(() => show(SHOWN));
    while (rendered.length < SHOWN / 4) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(rendered.length < SHOWN, "it was rendered in one go, so this shows nothing");
    worker.emit(rows(handles(worker)[0], [2]));
    const end = performance.now() + 5_000;
    const isShown = () => screens.at(-1) === "live 2" && page.container.children.length === SHOWN;
    while (!isShown() && performance.now() < end) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    globalThis.IS_REACT_ACT_ENVIRONMENT = true;
  }
  assert.deepEqual(screens.filter((screen) => screen.includes("|")), []);
  assert.equal(screens.at(-1), "live 2");
  assert.equal(page.container.querySelectorAll("p").length, SHOWN);
});
