// What an application does every day, in browsers beside Chromium. They have to be installed, and so it is for a soak.
import assert from "node:assert/strict";
import { test } from "node:test";

import { reload, until } from "./support/browser.mjs";
import { engines, engineWorld } from "./support/engines.mjs";
import * as seeds from "./support/seeds.mjs";
import { TYPED, goesOn } from "./support/tabs.mjs";
import { NOTES, TIMEOUT } from "./support/world.mjs";

/** In which a page ends. The others need more of a driver. */
const WAYS = ["close", "reload", "navigate", "terminate", "trap"];

test("an application works in every engine", async (t) => {
  let count = 0;
  await seeds.forEach("browser-engines", 0, async (seed) => {
    count += 1;
    for (const engine of await engines()) {
      await t.test(`${engine.name}, seed ${seed}`, TIMEOUT, (t) => day(t, engine, seeds.random(seed)));
      await t.test(`${engine.name}, seed ${seed}, silent`, TIMEOUT, (t) => silent(t, engine));
      for (const way of WAYS) {
        await t.test(`${engine.name}, seed ${seed}, ${way}`, TIMEOUT, async (t) => {
          await goesOn(t, await engineWorld(t, engine, TYPED), way);
        });
      }
    }
  });
  if (count === 0) t.skip("it needs Firefox and WebKit, and runs with: cargo xtask soak browser-engines");
});

/** A page subscribes, writes and sees, and has it again after a reload; another one sees it too. */
async function day(t, engine, chance) {
  const { server, proxy, browser, open } = await engineWorld(t, engine, NOTES);
  const page = await open();
  await page.evaluate(watchNotes);
  const ids = Array.from({ length: 1 + Math.floor(50 * chance()) }, (_, at) => at + 1);
  const state = await page.evaluate(async (ids) => {
    let mutation;
    for (const id of ids) mutation = await client.insert("app.notes", { id, room: 7, body: `note ${id}` });
    return (await mutation.decided()).state;
  }, ids);
  assert.equal(state, "accepted");
  assert.deepEqual(await numbers(server), ids);

  const last = ids.length + 1;
  await server.sql(`INSERT INTO app.notes (id, room, body) VALUES (${last}, 7, 'from the server')`);
  const all = [...ids, last];
  await page.evaluate((count) => until("all rows", () => results.at(-1)?.rows.length === count), all.length);
  const seen = await page.evaluate(() => ({ result: results.at(-1), status: client.status }));
  assert.equal(seen.result.state, "live");
  assert.deepEqual(seen.result.rows.at(-1), { id: last, body: "from the server" });
  assert.equal(seen.status.storage.kind, engine.storage);
  assert.ok(seen.status.lastSyncedAt instanceof Date);

  // Without a network, all of it can only be what is stored.
  proxy.cut();
  await reload(page);
  assert.deepEqual(await page.evaluate(stored), all);
  if (!engine.forgets) await night(browser, open, all);
  await writeAgain(server, proxy, open, all);
}

/** The browser is killed, and what was stored is there the next morning. */
async function night(browser, open, ids) {
  await browser.kill();
  await browser.start();
  const page = await open();
  assert.deepEqual(await page.evaluate(stored), ids);
  await page.close();
}

/** What is written without a network comes to the server when there is one, from a page that was opened anew. */
async function writeAgain(server, proxy, open, ids) {
  const page = await open();
  const next = ids.length + 1;
  await page.evaluate(async (id) => {
    globalThis.client = open("ann");
    client.subscribe("SELECT * FROM app.notes");
    await client.insert("app.notes", { id, room: 7, body: "offline" });
  }, next);
  assert.deepEqual(await numbers(server), ids);
  proxy.open();
  await page.evaluate(() => client.waitForSync({ timeout: 30_000 }));
  await until("the row", async () => (await numbers(server)).length === next);
  assert.deepEqual(await page.evaluate(() => client.pending().then(({ count }) => count)), 0);
}

/** The worker that has the replica is busy for long: another page is told, and goes on. In the end each row is there once. */
async function silent(t, engine) {
  const { server, site, browser } = await engineWorld(t, engine, NOTES);
  const [leader, other] = [await browser.open(site.at("obedient")), await browser.open(site.at("obedient"))];
  for (const page of [leader, other]) await page.evaluate(() => openWith("ann", "app.notes"));
  await leader.evaluate(() => workers.at(-1).postMessage({ type: "busy", ms: 15_000 }));
  const meanwhile = await other.evaluate(async () => {
    const words = [];
    client.onStatus(({ word }) => words.push(word));
    globalThis.held = client.insert("app.notes", { id: 1, room: 7 });
    await until("it is said", () => words.includes("error"));
    const { state } = await (await client.insert("app.notes", { id: 2, room: 7 })).decided();
    return { state, isOther: client.status.storage.kind !== "opfs" };
  });
  assert.deepEqual(meanwhile, { state: "accepted", isOther: true });
  await other.evaluate(async () => {
    await (await held).decided();
    await until("the replica is there", () => ["opfs", "indexeddb"].includes(client.status.storage.kind));
  });
  for (const page of [leader, other]) {
    await page.evaluate(() => client.waitForSync({ timeout: 30_000 }));
    const rows = await page.evaluate(() => client.query("SELECT id FROM app.notes ORDER BY id"));
    assert.deepEqual(rows, [{ id: 1 }, { id: 2 }]);
  }
  assert.deepEqual(await numbers(server), [1, 2]);
}

/** It runs in the page. */
async function watchNotes() {
  await openWith("ann", "app.notes");
  globalThis.results = [];
  client.watch("SELECT id, body FROM app.notes ORDER BY id").onResult((result) => results.push(result));
}

/** It runs in the page. */
async function stored() {
  globalThis.client = open("ann");
  const rows = await client.query("SELECT id FROM app.notes ORDER BY id");
  return rows.map(({ id }) => id);
}

async function numbers(server) {
  return (await server.rows("SELECT id FROM app.notes ORDER BY id")).map(([id]) => Number(id));
}
