import assert from "node:assert/strict";
import { test } from "node:test";

import { reload, until } from "./support/browser.mjs";
import { NOTES, TIMEOUT, world } from "./support/world.mjs";

test("what a page writes comes to the server, and what the server has comes to a watch", TIMEOUT, async (t) => {
  const { server, open } = await world(t, NOTES);
  const page = await open();
  const written = await page.evaluate(async () => {
    const client = (globalThis.client = open("ann"));
    const subscription = client.subscribe("SELECT * FROM app.notes WHERE room = $1", [7]);
    globalThis.results = [];
    client.watch("SELECT id, body FROM app.notes ORDER BY id").onResult((result) => results.push(result));
    await subscription.ready();
    const mutation = await client.execute("INSERT INTO app.notes (id, room, body) VALUES ($1, 7, $2)", [1, "from the page"]);
    const before = mutation.state.state;
    const after = await mutation.decided();
    return { before, after, affected: mutation.rowsAffected, state: subscription.state, progress: subscription.progress };
  });
  assert.ok(["queued", "sent"].includes(written.before), written.before);
  assert.equal(written.after.state, "accepted");
  assert.equal(typeof written.after.seq, "number");
  assert.equal(written.affected, 1);
  assert.equal(written.state, "live");
  assert.equal(written.progress.fraction, 1);
  assert.deepEqual(await server.rows("SELECT id, body FROM app.notes"), [["1", "from the page"]]);

  await server.sql("INSERT INTO app.notes (id, room, body) VALUES (2, 7, 'from the server'), (3, 8, 'of another room')");
  const seen = await page.evaluate(() => until("both rows", () => results.at(-1)?.rows.length === 2 && results.at(-1)));
  assert.deepEqual(seen.rows, [
    { id: 1, body: "from the page" },
    { id: 2, body: "from the server" },
  ]);
  assert.equal(seen.state, "live");
  assert.equal(seen.error, null);
  assert.deepEqual(seen.diff, { key: ["id"], removed: [], inserted: [1], updated: [], moved: [] });

  const status = await page.evaluate(() => until("connected", () => client.status.word === "connected" && client.status));
  assert.equal(status.reason, null);
  assert.equal(status.storage.kind, "opfs");
  assert.ok(status.lastSyncedAt instanceof Date);
});

test("the rows are there again before there is a network", TIMEOUT, async (t) => {
  const { server, proxy, open } = await world(t, NOTES);
  await server.sql("INSERT INTO app.notes (id, room, body) VALUES (1, 7, 'kept')");
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.notes"));
  proxy.cut();
  // Reloaded several times, also in quick succession: the storage of the page before may still be held.
  await page.reload();
  await page.reload();
  await reload(page);
  const found = await page.evaluate(async () => {
    globalThis.client = open("ann");
    const subscription = client.subscribe("SELECT * FROM app.notes");
    const rows = await client.query("SELECT id, body FROM app.notes");
    await subscription.ready();
    const first = await client.watch("SELECT id, body FROM app.notes")[Symbol.asyncIterator]().next();
    return { rows, first: first.value, state: subscription.state, word: client.status.word };
  });
  assert.deepEqual(found.rows, [{ id: 1, body: "kept" }]);
  assert.deepEqual(found.first.rows, found.rows);
  assert.equal(found.first.state, "behind");
  assert.equal(found.state, "behind");
  assert.ok(["connecting", "offline"].includes(found.word), found.word);
  proxy.open();
  await until("connected", () => page.evaluate(() => client.status.word === "connected"));
});

test("a client goes with close, and another one takes its place", TIMEOUT, async (t) => {
  const { open } = await world(t, NOTES);
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = open("ann");
    await client.opened;
    const pending = client.subscribe("SELECT * FROM app.notes WHERE room = 1");
    const loop = (async () => {
      for await (const _ of client.watch("SELECT 1 AS one"));
      return "ended";
    })();
    await client.close();
    const after = await failure(() => client.query("SELECT 1"));
    const ready = await failure(() => pending.ready());
    const again = open("ann");
    const rows = await again.query("SELECT 1 AS one");
    await again.close();
    return { after, ready, loop: await loop, rows, word: client.status.word };
  });
  assert.equal(said.after.code, "invalid_request");
  assert.ok(said.after.isError);
  assert.ok(["invalid_request", "cancelled"].includes(said.ready.code), said.ready.code);
  assert.equal(said.loop, "ended");
  assert.deepEqual(said.rows, [{ one: 1 }]);
  assert.equal(said.word, "closed");
});

test("a page may let go of everything for a while, and what it asks for meanwhile comes afterwards", TIMEOUT, async (t) => {
  const { server, open } = await world(t, NOTES);
  await server.sql("INSERT INTO app.notes (id, room, body) VALUES (1, 7, 'there')");
  const page = await open();
  await page.evaluate(async () => {
    globalThis.client = open("ann");
    globalThis.subscription = client.subscribe("SELECT * FROM app.notes WHERE room = 7");
    await subscription.ready();
    globalThis.results = [];
    client.watch("SELECT id FROM app.notes ORDER BY id").onResult((result) => results.push(result));
    await client.suspend(5_000);
  });
  await server.sql("INSERT INTO app.notes (id, room, body) VALUES (2, 7, 'meanwhile'), (3, 8, 'meanwhile')");
  const said = await page.evaluate(async () => {
    const { word } = client.status;
    const query = await failure(() => client.query("SELECT 1"));
    const other = client.subscribe("SELECT * FROM app.notes WHERE room = 8");
    globalThis.rejections = undefined;
    client.onRejections((list) => (globalThis.rejections = list));
    await until("why it does not begin", () => other.error);
    const { state, error } = other;
    client.resume();
    await other.ready();
    await until("all rows", () => results.at(-1).rows.length === 3 && results.at(-1).state === "live");
    await until("no rejections", () => rejections?.length === 0);
    return { word, query, state, code: error.code, states: [subscription.state, other.state], error: other.error };
  });
  assert.equal(said.word, "paused");
  assert.equal(said.query.code, "cancelled");
  assert.deepEqual([said.state, said.code], ["loading", "cancelled"]);
  assert.deepEqual(said.states, ["live", "live"]);
  assert.equal(said.error, null);
});

test("a subscription may be let go before it is there, and ends with its twin", TIMEOUT, async (t) => {
  const { server, open } = await world(t, NOTES);
  await server.sql("INSERT INTO app.notes (id, room, body) VALUES (1, 7, 'a'), (2, 8, 'b')");
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = open("ann");
    await client.opened;
    client.subscribe("SELECT * FROM app.notes WHERE room = 8").unsubscribe();
    const twin = client.subscribe("SELECT * FROM app.notes WHERE room = 7");
    const other = client.subscribe("SELECT * FROM app.notes WHERE room = 7");
    const verdict = await twin.verify();
    await other.ready();
    twin.unsubscribe();
    await until("the end of the other one", () => other.state === "idle");
    const ready = await failure(() => other.ready());
    const reset = await failure(() => other.reset());
    return { verdict, ready, reset, rows: await client.query("SELECT id FROM app.notes") };
  });
  assert.equal(said.verdict, "same");
  assert.equal(said.ready.code, "cancelled");
  assert.equal(said.reset.code, "invalid_request");
  assert.deepEqual(said.rows, []);
});
