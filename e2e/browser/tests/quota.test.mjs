// A browser that gives the site little room.
import assert from "node:assert/strict";
import { test } from "node:test";

import { ready } from "./support/browser.mjs";
import { NOTES, TIMEOUT, world } from "./support/world.mjs";

const MIB = 1024 * 1024;

/** More than the quota has room for. */
const LITTLE = 28 * MIB;
const ROWS = 2_500;
const TEXT = "x".repeat(20_000);

/** A page, and how to say how much room there is for its site. */
async function withQuota(site, browser) {
  const page = await browser.page();
  const cdp = await page.context().newCDPSession(page);
  const { origin } = new URL(site.url);
  const allow = (bytes) => cdp.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: bytes });
  await allow(LITTLE);
  await page.goto(site.url);
  await ready(page);
  return { page, allow };
}

async function fill(server) {
  for (let from = 1; from <= ROWS; from += 50) {
    const rows = Array.from({ length: 50 }, (_, n) => `(${from + n}, 7, $1)`).join(", ");
    await server.sql(`INSERT INTO app.notes (id, room, body) VALUES ${rows}`, [TEXT]);
  }
}

test("a small quota is said, what is typed is kept, and the load goes on when there is room", TIMEOUT, async (t) => {
  const { server, site, browser } = await world(
    t,
    NOTES,
    "CREATE SHARED TABLE app.likes (id BIGINT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0 MERGE ADD) WITH (ACCESS_LEVEL = WRITE)",
  );
  await server.sql("INSERT INTO app.likes (id) VALUES (1)");
  await fill(server);
  const { page, allow } = await withQuota(site, browser);
  const full = await page.evaluate(async () => {
    await openWith("ann", "app.likes");
    await client.insert("app.notes", { id: -1, room: 1, body: "typed before" });
    globalThis.all = client.subscribe("SELECT * FROM app.notes");
    return await until("a full disk", () => client.status.word === "disk_full" && client.status);
  });
  assert.equal(full.reason.code, "quota");

  const typed = await page.evaluate(async (text) => {
    // Longer than it takes to try again.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    for (let n = 1; n <= 50; n += 1) await client.update("app.likes", { id: 1 }, { n: tidewire.add(1) });
    for (let id = -2; id >= -30; id -= 1) await client.insert("app.notes", { id, room: 1, body: text });
    const { word } = client.status;
    const mine = await client.query("SELECT id, length(body) AS length FROM app.notes WHERE id < 0 ORDER BY id DESC");
    const likes = await client.query("SELECT n FROM app.likes");
    return { mine, likes, word, state: all.state, count: (await client.pending()).count };
  }, TEXT);
  assert.deepEqual(typed.mine.map(({ id }) => id), Array.from({ length: 30 }, (_, n) => -1 - n));
  assert.equal(typed.mine[0].length, "typed before".length);
  assert.deepEqual(typed.likes, [{ n: 50 }]);
  assert.equal(typed.word, "disk_full");
  assert.equal(typed.state, "loading");
  assert.ok(typed.count > 0);

  await allow(512 * MIB);
  const loaded = await page.evaluate(async () => {
    await until("all rows", () => all.state === "live", 60_000);
    await client.waitForSync({ timeout: 30_000 });
    const [{ n }] = await client.query("SELECT count(*) AS n FROM app.notes");
    return { n, word: client.status.word, count: (await client.pending()).count };
  });
  assert.deepEqual(loaded, { n: ROWS + 30, word: "connected", count: 0 });
  assert.deepEqual(await server.rows("SELECT n FROM app.likes"), [["50"]]);
  assert.deepEqual(await server.rows("SELECT count(*) FROM app.notes WHERE id < 0"), [["30"]]);
});

test("a journal for which the file has no room waits for some, although it is short", TIMEOUT, async (t) => {
  const { site, browser } = await world(t, NOTES);
  const { page, allow } = await withQuota(site, browser);
  await page.evaluate(async (text) => {
    await openWith("ann", "app.notes");
    await client.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY, body TEXT)");
    for (let id = 1; id <= 60; id += 1) await client.execute("INSERT INTO mine VALUES ($1, $2)", [id, text]);
  }, TEXT);
  await allow(1);
  await page.evaluate(async () => {
    // What has gone is to leave the journal, too.
    await client.execute("DELETE FROM mine WHERE id = 1");
    await until("a full disk", () => client.status.word === "disk_full", 80_000);
  });
  const words = await page.evaluate(async () => {
    const words = new Set();
    for (const end = performance.now() + 4_000; performance.now() < end; ) {
      words.add(client.status.word);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return [...words];
  });
  assert.deepEqual(words, ["disk_full"]);
  await allow(64 * MIB);
  await page.evaluate(() => until("a connection", () => client.status.word === "connected", 60_000));
});
