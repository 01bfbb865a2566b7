import assert from "node:assert/strict";
import { test } from "node:test";

import { reload } from "./support/browser.mjs";
import { NOTES, TIMEOUT, world } from "./support/world.mjs";

test("what is written offline is there after a reload, and is done once when there is a network", TIMEOUT, async (t) => {
  const { server, proxy, open } = await world(t, NOTES);
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.notes"));
  proxy.cut();
  const ids = await page.evaluate(async () => {
    const made = [];
    for (let id = 1; id <= 10; id += 1) {
      made.push(await client.insert("app.notes", { id, room: 7, body: `note ${id}` }));
    }
    await client.batch([
      { update: "app.notes", key: { id: 1 }, set: { body: "changed" } },
      { delete: "app.notes", key: { id: 2 } },
      { sql: "UPDATE app.notes SET room = $1 WHERE id = 3", params: [8] },
    ]);
    return made.map(({ id }) => id);
  });
  assert.equal(new Set(ids).size, 10);

  await reload(page);
  const there = await page.evaluate(async (id) => {
    globalThis.client = open("ann");
    client.subscribe("SELECT * FROM app.notes");
    const rows = await client.query("SELECT id, room, body FROM app.notes ORDER BY id");
    const pending = await client.pending();
    globalThis.found = await client.mutation(id);
    const unsent = await client.query('SELECT count(*) AS n FROM tw_pending WHERE "table" = \'app.notes\'');
    return { rows, count: pending.count, age: pending.oldestAge, first: pending.mutations[0], state: found.state, unsent };
  }, ids[9]);
  assert.equal(there.rows.length, 9);
  assert.deepEqual(there.rows[0], { id: 1, room: 7, body: "changed" });
  assert.deepEqual(there.rows[1], { id: 3, room: 8, body: "note 3" });
  assert.equal(there.count, 11);
  assert.ok(there.age > 0);
  assert.ok(there.first.writtenAt instanceof Date);
  assert.equal(there.first.rows[0].table, "app.notes");
  assert.equal(there.state.state, "queued");
  assert.ok(there.unsent[0].n > 0);

  proxy.open();
  const decided = await page.evaluate(async () => {
    dispatchEvent(new Event("online"));
    const state = await found.decided();
    await client.waitForSync({ timeout: 30_000 });
    return { state, count: (await client.pending()).count };
  });
  assert.equal(decided.state.state, "accepted");
  assert.equal(decided.count, 0);
  const rows = await server.rows("SELECT id, body FROM app.notes ORDER BY id");
  assert.deepEqual(rows.map(([id]) => id), ["1", "3", "4", "5", "6", "7", "8", "9", "10"]);
  assert.equal(rows[0][1], "changed");
});

test("two pages count offline, and both count", TIMEOUT, async (t) => {
  const { server, proxy, open } = await world(
    t,
    "CREATE SHARED TABLE app.likes (id BIGINT PRIMARY KEY, n BIGINT NOT NULL DEFAULT 0 MERGE ADD) WITH (ACCESS_LEVEL = WRITE)",
  );
  await server.sql("INSERT INTO app.likes (id) VALUES (1)");
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.likes"));
  proxy.cut();
  await server.sql("UPDATE app.likes SET n = n + 5 WHERE id = 1");
  await page.evaluate(() => client.update("app.likes", { id: 1 }, { n: tidewire.add(2) }));
  proxy.open();
  await page.evaluate(() => client.waitForSync({ timeout: 30_000 }));
  assert.deepEqual(await server.rows("SELECT n FROM app.likes"), [["7"]]);
});

test("a write can be taken back while it has not left, and one for now or never fails at once", TIMEOUT, async (t) => {
  const { proxy, open } = await world(t, NOTES);
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.notes"));
  proxy.cut();
  const said = await page.evaluate(async () => {
    await until("offline", () => client.status.word === "offline");
    const mutation = await client.insert("app.notes", { id: 1, room: 7 });
    const states = [];
    mutation.onChange((state) => states.push(state));
    const isCancelled = await mutation.cancel();
    const state = await mutation.decided();
    const rows = await client.query("SELECT * FROM app.notes");
    const online = await failure(() => client.insert("app.notes", { id: 2, room: 7 }, { online: true }));
    return { isCancelled, state, states, rows, online };
  });
  assert.equal(said.isCancelled, true);
  assert.equal(said.state.state, "rejected");
  assert.equal(said.state.code, "cancelled");
  assert.deepEqual(said.states, [said.state]);
  assert.deepEqual(said.rows, []);
  assert.equal(said.online.code, "offline");
});
