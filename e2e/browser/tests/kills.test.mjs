// A browser that is killed again and again while rows are loaded and written.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as seeds from "./support/seeds.mjs";
import { FRAME_MS, loadAll, longestTask } from "./support/tracing.mjs";
import { NOTES, world } from "./support/world.mjs";

/** Seed 0 is small. */
const SIZES = [{ rows: 6_000, kills: 2 }];
const LARGE = { rows: 100_000, kills: 8 };

test("a load goes on at its floor and no write is lost or doubled, however often the browser is killed", async (t) => {
  await seeds.forEach("browser-kills", 1, (seed) => t.test(`seed ${seed}`, (t) => kill(t, seed)));
});

async function kill(t, seed) {
  const { rows, kills } = SIZES[seed] ?? LARGE;
  const chance = seeds.random(seed);
  const { server, browser, site } = await world(t, NOTES, "CREATE USER TABLE app.typed (id BIGINT PRIMARY KEY)");
  await fill(server, rows);
  let page = await begin(browser, site, 0);
  let [kept, acknowledged, cuts] = [0, 0, 0];
  for (let count = 0; count < kills; count += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100 + 700 * chance()));
    // What a page was told before it ended has happened.
    acknowledged = Math.max(acknowledged, await page.evaluate(() => globalThis.acknowledged));
    await browser.kill();
    await browser.start();
    page = await begin(browser, site, acknowledged);
    const { notes, typed } = await page.evaluate(() => globalThis.found);
    assert.ok(notes >= kept, `${kept} rows were here, and ${notes} are`);
    assert.ok(typed >= acknowledged, `${acknowledged} writes were acknowledged, and ${typed} are there`);
    kept = notes;
    cuts += kept > 0 && kept < rows ? 1 : 0;
  }
  assert.ok(cuts > 0 || seed in SIZES, "no kill came in the middle of the load");
  const end = await page.evaluate(async () => {
    globalThis.isOver = true;
    await subscription.ready();
    await typed.ready();
    await client.waitForSync({ timeout: 60_000 });
    const [{ notes }] = await client.query("SELECT count(*) AS notes FROM app.notes");
    const ids = (await client.query("SELECT id FROM app.typed ORDER BY id")).map(({ id }) => id);
    const verdicts = [await subscription.verify(), await typed.verify()];
    return { notes, ids, verdicts, pending: (await client.pending()).count };
  });
  assert.equal(end.notes, rows);
  assert.deepEqual(end.verdicts, ["same", "same"]);
  assert.equal(end.pending, 0);
  // Each number once, none left out: the next one is that of what is there.
  assert.deepEqual(end.ids, end.ids.map((_, at) => at + 1));
  const there = await server.rows("SELECT id FROM app.typed ORDER BY id", "ann");
  assert.deepEqual(there.map(([id]) => Number(id)), end.ids);
  await page.close();
  const longest = await longestTask(await browser.open(site.url), loadAll);
  assert.ok(longest < FRAME_MS, `a task of the page took ${longest} ms`);
  console.log(`seed ${seed}: longest task of a page that loads all of it ${longest.toFixed(1)} ms`);
  console.log(`seed ${seed}: ${rows} rows, ${kills} kills, ${cuts} of them in the load, ${end.ids.length} writes`);
}

async function fill(server, rows) {
  const body = "x".repeat(80);
  for (let at = 0; at < rows; at += 1_000) {
    const values = Array.from({ length: 1_000 }, (_, more) => `(${at + more + 1}, 7, '${body}')`);
    await server.sql(`INSERT INTO app.notes (id, room, body) VALUES ${values.join(", ")}`);
  }
}

/** A page that loads all notes, and types one number after the other. */
async function begin(browser, site, acknowledged) {
  const page = await browser.open(site.url);
  await page.evaluate(async (acknowledged) => {
    Object.assign(globalThis, { client: open("ann"), acknowledged, isOver: false });
    const count = async (table) => {
      try {
        const [{ n }] = await client.query(`SELECT count(*) AS n FROM ${table}`);
        return n;
      } catch (error) {
        // Before it was connected for the first time there are no tables.
        if (error.code === "not_found") return 0;
        throw error;
      }
    };
    globalThis.found = { notes: await count("app.notes"), typed: await count("app.typed") };
    globalThis.subscription = client.subscribe("SELECT * FROM app.notes", [], { batchRows: 500 });
    globalThis.typed = client.subscribe("SELECT * FROM app.typed");
    await until("the table", async () => (await count("app.typed")) >= 0 && typed.state !== "loading");
    const write = async () => {
      const next = "INSERT INTO app.typed (id) SELECT coalesce(max(id), 0) + 1 FROM app.typed RETURNING id";
      while (!globalThis.isOver) {
        const { rows } = await client.execute(next);
        globalThis.acknowledged = rows[0].id;
      }
    };
    void write();
  }, acknowledged);
  return page;
}
