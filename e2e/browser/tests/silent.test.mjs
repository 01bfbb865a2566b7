// The page that has the replica is silent: its process stands still, as when a browser freezes it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTES, TIMEOUT, world } from "./support/world.mjs";

const ids = async (server) => (await server.rows("SELECT id FROM app.notes ORDER BY id")).flat();

/** Two pages, of which the first has the replica. */
async function twoPages(t, variant) {
  const made = await world(t, NOTES);
  const { site, browser } = made;
  const [leader, other] = [await browser.open(site.at(variant)), await browser.open(site.at(variant))];
  for (const page of [leader, other]) await page.evaluate(() => openWith("ann", "app.notes"));
  return { ...made, leader, other, itsProcess: await browser.processOf(leader) };
}

test("without private files a page takes the replica from one that stands still, and each write is done once", TIMEOUT, async (t) => {
  const { server, proxy, leader, other, itsProcess } = await twoPages(t, "without-opfs");
  proxy.cut();
  // What is stored, and not sent. A process that stands still within a transaction of IndexedDB holds up all others, so
  // it does so in none.
  await leader.evaluate(async () => {
    await client.insert("app.notes", { id: 1, room: 7, body: "before" });
    globalThis.own = client.insert("app.notes", { id: 2, room: 7 });
    await own;
    await new Promise((resolve) => setTimeout(resolve, 500));
  });
  itsProcess.stop();
  t.after(itsProcess.goOn);
  await other.evaluate(() => (globalThis.held = client.insert("app.notes", { id: 3, room: 7 })).then(() => undefined));
  proxy.open();
  await other.evaluate(async () => {
    await (await held).decided();
    await client.waitForSync({ timeout: 30_000 });
  });
  assert.deepEqual(await ids(server), ["1", "2", "3"]);
  itsProcess.goOn();
  await leader.evaluate(async () => {
    await (await own).decided();
    await (await client.insert("app.notes", { id: 4, room: 7 })).decided();
  });
  assert.deepEqual(await ids(server), ["1", "2", "3", "4"]);
  for (const page of [leader, other]) {
    await page.evaluate(() => client.waitForSync({ timeout: 30_000 }));
    assert.equal(await page.evaluate(async () => (await client.query("SELECT id FROM app.notes")).length), 4);
  }
});
