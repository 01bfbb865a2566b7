// A page that loads very many rows: what it takes, and who waits for it.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as seeds from "./support/seeds.mjs";
import { FRAME_MS, longestTask } from "./support/tracing.mjs";
import { NOTES, world } from "./support/world.mjs";

/** Seed 0 is small. */
const [SMALL, ROWS] = [20_000, 1_000_000];

/** What the process of a page may take more than before, in MiB, however many rows it loads. */
const MEMORY_MIB = 96;

const LOOK_EVERY_MS = 50;

test("the memory of a page that loads very many rows is bounded, and it goes on meanwhile", async (t) => {
  await seeds.forEach("browser-large-load", 1, (seed) => t.test(`seed ${seed}`, (t) => load(t, seed)));
});

async function load(t, seed) {
  const rows = seed === 0 ? SMALL : ROWS;
  const { server, browser, open } = await world(t, NOTES, "CREATE USER TABLE app.typed (id BIGINT PRIMARY KEY)");
  const body = "x".repeat(80);
  for (let at = 0; at < rows; at += 1_000) {
    const values = Array.from({ length: 1_000 }, (_, more) => `(${at + more + 1}, 7, '${body}')`);
    await server.sql(`INSERT INTO app.notes (id, room, body) VALUES ${values.join(", ")}`);
  }
  const page = await open();
  await page.evaluate(async () => {
    globalThis.client = open("ann");
    await client.subscribe("SELECT * FROM app.typed").ready();
  });
  const itsProcess = await browser.processOf(page);
  const before = itsProcess.memory();
  let most = before;
  const clock = setInterval(() => (most = Math.max(most, itsProcess.memory())), LOOK_EVERY_MS);
  const begun = Date.now();
  const task = await longestTask(page, loadAndType).finally(() => clearInterval(clock));
  const seconds = (Date.now() - begun) / 1_000;
  const { count, verdict, written, writes, reads } = await page.evaluate(async () => ({
    count: (await client.query("SELECT count(*) AS n FROM app.notes"))[0].n,
    verdict: await notes.verify(),
    ...typed,
    written: (await client.query("SELECT count(*) AS n FROM app.typed"))[0].n,
  }));
  const longest = (all) => Math.max(...all).toFixed(0);
  console.log(
    `seed ${seed}: ${rows} rows in ${seconds.toFixed(1)} s, ${(most - before).toFixed(0)} MiB more than before (${before.toFixed(0)}); ` +
      `${writes.length} writes meanwhile, the longest ${longest(writes)} ms; of ${reads.length} reads of another table ` +
      `${longest(reads)} ms; longest task of the page ${task.toFixed(1)} ms`,
  );
  assert.deepEqual([count, verdict, written], [rows, "same", writes.length]);
  assert.ok(most - before < MEMORY_MIB, `${most - before} MiB`);
  assert.ok(task < FRAME_MS, `a task of the page took ${task} ms`);
}

/** All notes come, and meanwhile one number after the other is written to another table, and counted. It runs in a page. */
async function loadAndType() {
  const typed = (globalThis.typed = { writes: [], reads: [] });
  globalThis.notes = client.subscribe("SELECT * FROM app.notes");
  let isOver = false;
  const over = notes.ready().then(() => (isOver = true));
  const timed = async (all, run) => {
    const begun = performance.now();
    await run();
    all.push(performance.now() - begun);
  };
  for (let id = 1; !isOver; id += 1) {
    await timed(typed.writes, () => client.insert("app.typed", { id }));
    await timed(typed.reads, () => client.query("SELECT count(*) FROM app.typed"));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await over;
}
