import assert from "node:assert/strict";
import { test } from "node:test";

import { reload } from "./support/browser.mjs";
import { FRAME_MS, loadAll, longestTask } from "./support/tracing.mjs";
import { NOTES, TIMEOUT, world } from "./support/world.mjs";

const ROWS = 20_000;

async function fill(server) {
  const body = "x".repeat(80);
  for (let at = 0; at < ROWS; at += 1_000) {
    const values = Array.from({ length: 1_000 }, (_, more) => `(${at + more + 1}, 7, '${body}')`);
    await server.sql(`INSERT INTO app.notes (id, room, body) VALUES ${values.join(", ")}`);
  }
}

test("a browser that is killed while it loads goes on where it was", { timeout: 240_000 }, async (t) => {
  const { server, proxy, browser, open, site } = await world(t, NOTES);
  await fill(server);
  // So slow that the kill comes in the middle.
  proxy.bytesPerSecond = 400_000;
  let page = await open();
  const before = await page.evaluate(async () => {
    globalThis.client = open("ann");
    globalThis.subscription = client.subscribe("SELECT * FROM app.notes", [], { batchRows: 500 });
    return await until("a part", () => subscription.progress.rows >= 4_000 && subscription.progress.rows);
  });
  assert.ok(before < ROWS, `${before} rows were here before it was killed`);
  await browser.kill();

  proxy.cut();
  await browser.start();
  page = await browser.open(site.url);
  const kept = await page.evaluate(async () => {
    globalThis.client = open("ann");
    const [{ n }] = await client.query("SELECT count(*) AS n FROM app.notes");
    return n;
  });
  assert.ok(kept > 0 && kept < ROWS, `${kept} rows were kept`);

  proxy.bytesPerSecond = undefined;
  proxy.open();
  proxy.down = 0;
  const loaded = await page.evaluate(async () => {
    globalThis.subscription = client.subscribe("SELECT * FROM app.notes", [], { batchRows: 500 });
    const counts = [];
    client.watch("SELECT count(*) AS n FROM app.notes").onResult(({ rows }) => counts.push(rows[0].n));
    await subscription.ready();
    const [{ n }] = await client.query("SELECT count(*) AS n FROM app.notes");
    return { n, counts };
  });
  const bytes = proxy.down;
  assert.equal(loaded.n, ROWS);
  assert.ok(loaded.counts.every((count, at) => at === 0 || count >= loaded.counts[at - 1]), `${loaded.counts}`);
  assert.equal(await page.evaluate(() => subscription.verify()), "same");

  // What was kept did not come again: another user has to load all of it.
  proxy.down = 0;
  await page.evaluate(async () => {
    await client.close();
    await open("bob").subscribe("SELECT * FROM app.notes", [], { batchRows: 500 }).ready();
  });
  const perRow = proxy.down / ROWS;
  const most = (ROWS - kept / 2) * perRow;
  assert.ok(bytes < most, `${bytes} bytes came when ${kept} of ${ROWS} rows of ${Math.round(perRow)} bytes were kept`);
});

test("the page is not held up while rows come, from when its client is created on", TIMEOUT, async (t) => {
  const { server, open } = await world(t, NOTES);
  await fill(server);
  const page = await open();
  const longest = await longestTask(page, loadAll);
  assert.ok(longest < FRAME_MS, `a task of the page took ${longest} ms`);
});

test("a worker that stops is started again, and nothing waits for ever", TIMEOUT, async (t) => {
  const { server, browser, open } = await world(t, NOTES);
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = (globalThis.client = open("ann"));
    const subscription = (globalThis.subscription = client.subscribe("SELECT * FROM app.notes"));
    await subscription.ready();
    globalThis.results = [];
    client.watch("SELECT id FROM app.notes ORDER BY id").onResult((result) => results.push(result));
    await client.insert("app.notes", { id: 1, room: 7 });
    await until("it", () => results.at(-1)?.rows.length === 1 && results.at(-1).state === "live");
    const [row] = results.at(-1).rows;
    const before = results.length;
    const statuses = [];
    client.onStatus(({ word }) => statuses.push(word));
    const write = client.insert("app.notes", { id: 2, room: 7 });
    const read = client.query("SELECT 1 AS one");
    const transaction = failure(() =>
      client.transaction(async (tx) => {
        await tx.insert("app.notes", { id: 3, room: 7 });
      }),
    );
    const hanging = failure(() => client.transaction(() => new Promise(() => undefined)));
    workers.at(-1).dispatchEvent(new ErrorEvent("error", { message: "unreachable" }));
    const down = { state: subscription.state, result: results.at(-1).state };
    const again = { write: (await write).rowsAffected, read: await read };
    const lost = { transaction: await transaction, hanging: await hanging };
    const rows = await client.query("SELECT id FROM app.notes WHERE id IN (1, 2) ORDER BY id");
    await until("a result of the next worker", () => results.length > before + 1 && !results.at(-1).error);
    const { rows: [same], diff } = results[before + 1];
    const isSame = same === row && diff.removed.length === 0 && diff.inserted.every((place) => place > 0);
    return { again, lost, rows, statuses, down, isSame, workers: workers.length };
  });
  assert.deepEqual(said.again, { write: 1, read: [{ one: 1 }] });
  assert.equal(said.lost.transaction.code, "internal");
  assert.match(said.lost.transaction.message, /The transaction is undone/);
  assert.equal(said.lost.hanging.code, "internal");
  assert.deepEqual(said.down, { state: "behind", result: "behind" });
  assert.ok(said.isSame);
  assert.deepEqual(said.rows, [{ id: 1 }, { id: 2 }]);
  assert.equal(said.statuses[0], "error");
  assert.ok(said.workers >= 2, `${said.workers} workers`);

  await server.sql("INSERT INTO app.notes (id, room) VALUES (9, 7)");
  await page.evaluate(() => until("what is new", () => results.at(-1).rows.some(({ id }) => id === 9)));
  const state = await page.evaluate(() => until("live", () => subscription.state === "live" && client.status.word === "connected"));
  assert.equal(state, true);
  assert.deepEqual(browser.complaints, []);
});

test("who signs out with wipe leaves nothing behind", TIMEOUT, async (t) => {
  const { proxy, open } = await world(t, NOTES);
  const page = await open();
  const first = await page.evaluate(async () => {
    await openWith("ann", "app.notes");
    await (await client.insert("app.notes", { id: 1, room: 7, body: "hers" })).decided();
    await client.execute("CREATE TABLE drafts (body TEXT)");
    await client.execute("INSERT INTO drafts VALUES ('mine')");
    return await client.query("SELECT body FROM app.notes");
  });
  assert.deepEqual(first, [{ body: "hers" }]);
  proxy.cut();
  const said = await page.evaluate(async () => {
    await client.insert("app.notes", { id: 2, room: 7 });
    const refused = await failure(() => client.signOut("wipe"));
    const still = await client.query("SELECT count(*) AS n FROM app.notes");
    await client.signOut("wipe", { discardPending: true });
    const closed = await failure(() => client.query("SELECT 1"));
    return { refused, still, closed, word: client.status.word };
  });
  assert.match(said.refused.message, /1/);
  assert.deepEqual(said.still, [{ n: 2 }]);
  assert.equal(said.closed.code, "invalid_request");
  assert.equal(said.word, "closed");

  await reload(page);
  const next = await page.evaluate(async () => {
    globalThis.client = open("ann");
    return {
      pending: (await client.pending()).count,
      drafts: await client.query("SELECT name FROM sqlite_schema WHERE name = 'drafts'"),
      notes: (await failure(() => client.query("SELECT * FROM app.notes"))).code,
    };
  });
  assert.deepEqual(next, { pending: 0, drafts: [], notes: "not_found" });
});

test("the client of another user has nothing of the first", TIMEOUT, async (t) => {
  const { open } = await world(t, "CREATE USER TABLE app.drafts (id BIGINT PRIMARY KEY, body TEXT)");
  const page = await open();
  const said = await page.evaluate(async () => {
    const show = async (user, write) => {
      const client = open(user);
      await client.subscribe("SELECT * FROM app.drafts").ready();
      if (write) await client.insert("app.drafts", { id: 1, body: write });
      const rows = await client.query("SELECT body FROM app.drafts");
      await client.close();
      return rows;
    };
    return [await show("ann", "of ann"), await show("bob"), await show("ann")];
  });
  assert.deepEqual(said, [[{ body: "of ann" }], [], [{ body: "of ann" }]]);
});
