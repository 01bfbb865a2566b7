// A browser without private files: the replica is in memory, and kept in IndexedDB.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ready } from "./support/browser.mjs";
import { TYPED, goesOn } from "./support/tabs.mjs";
import { NOTES, TIMEOUT, world } from "./support/world.mjs";

test("without private files the status says so, and what was written is there after a kill", TIMEOUT, async (t) => {
  const { server, proxy, site, browser } = await world(t, NOTES);
  const address = site.at("without-opfs");
  let page = await browser.open(address);
  const storage = await page.evaluate(async () => {
    await openWith("ann", "app.notes");
    return client.status.storage;
  });
  assert.equal(storage.kind, "indexeddb");
  proxy.cut();
  for (let id = 1; id <= 3; id += 1) {
    await page.evaluate(async (id) => {
      globalThis.client ??= open("ann");
      await client.insert("app.notes", { id, room: 7, body: `note ${id}` });
    }, id);
    // Nothing is waited for: it is there when the call has returned.
    await browser.kill();
    await browser.start();
    page = await browser.open(address);
  }
  const there = await page.evaluate(async () => {
    globalThis.client = open("ann");
    client.subscribe("SELECT * FROM app.notes");
    const rows = await client.query("SELECT id FROM app.notes ORDER BY id");
    return { ids: rows.map(({ id }) => id), pending: (await client.pending()).count };
  });
  assert.deepEqual(there, { ids: [1, 2, 3], pending: 3 });
  proxy.open();
  await page.evaluate(() => client.waitForSync({ timeout: 60_000 }));
  assert.deepEqual((await server.rows("SELECT id FROM app.notes ORDER BY id")).flat(), ["1", "2", "3"]);
});

test("where there are private files that cannot be had for a moment, nothing begins anew beside them", TIMEOUT, async (t) => {
  const { proxy, site, browser, open } = await world(t, NOTES);
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.notes"));
  proxy.cut();
  await page.evaluate(() => client.insert("app.notes", { id: 1, room: 7 }));
  await page.close();
  const broken = await browser.open(site.at("broken-opfs"));
  const { code, message } = await broken.evaluate(() => failure(() => open("ann").opened));
  assert.equal(code, "internal");
  assert.match(message, /were used here before.*load the page again/);
  await broken.close();
  const again = await open();
  assert.equal(await again.evaluate(async () => (await open("ann").pending()).count), 1);
});

test("where private files were never had, a replica is made without them", TIMEOUT, async (t) => {
  const { site, browser } = await world(t, NOTES);
  const page = await browser.open(site.at("broken-opfs"));
  await page.evaluate(() => openWith("ann", "app.notes"));
  assert.equal(await page.evaluate(() => client.status.storage.kind), "indexeddb");
});

for (const way of ["close", "crash"]) {
  test(`without private files, too, the other pages go on when one ends (${way})`, TIMEOUT, async (t) => {
    const { server, browser, site } = await world(t, TYPED);
    browser.allow(/the page has crashed/);
    await goesOn(t, { server, open: () => browser.open(site.at("without-opfs")) }, way);
  });
}

test("without room what was written waits for it, and is done then", TIMEOUT, async (t) => {
  const { server, site, browser } = await world(t, NOTES);
  const page = await browser.page();
  const cdp = await page.context().newCDPSession(page);
  const { origin } = new URL(site.url);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 4_000_000 });
  await page.goto(site.at("without-opfs"));
  await ready(page);
  const said = await page.evaluate(async () => {
    await openWith("ann", "app.notes");
    globalThis.settled = 0;
    globalThis.written = [];
    while (client.status.word !== "disk_full") {
      const id = written.length + 1;
      written.push(client.insert("app.notes", { id, room: 7, body: "x".repeat(400_000) }).then(() => settled++));
      const isDone = () => settled === written.length || client.status.word === "disk_full";
      await until("it is stored, or there is no room", isDone);
    }
    return { settled, written: written.length, reason: client.status.reason.code };
  });
  assert.equal(said.reason, "quota");
  assert.equal(said.settled, said.written - 1);
  const rows = await page.evaluate(() => client.query("SELECT count(*) AS n FROM app.notes"));
  assert.deepEqual(rows, [{ n: said.written }]);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin });
  await page.evaluate(() => Promise.all(written));
  await page.evaluate(async () => {
    await client.waitForSync({ timeout: 60_000 });
    await until("the status", () => client.status.word === "connected");
  });
  assert.equal((await server.rows("SELECT id FROM app.notes")).length, said.written);
});

test("leaving is warned of while something waits that may be lost", TIMEOUT, async (t) => {
  const { proxy, open } = await world(t, NOTES);
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.notes"));
  const asks = () => page.evaluate(() => !dispatchEvent(new Event("beforeunload", { cancelable: true })));
  assert.equal(await page.evaluate(() => client.status.storage.isPersistent), false);
  assert.equal(await asks(), false);
  proxy.cut();
  await page.evaluate(async () => (globalThis.written = await client.insert("app.notes", { id: 1, room: 7 })));
  assert.equal(await asks(), true);
  proxy.open();
  await page.evaluate(() => written.decided());
  assert.equal(await asks(), false);
});
