// The page that has the replica is silent: its process stands still, as when a browser freezes it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "./support/browser.mjs";
import { NOTES, TIMEOUT, world } from "./support/world.mjs";

const DATABASE = "tidewire-stand-in";

/** Two pages with these rows, of which the first has the replica, and stands still after `before`. */
async function twoPages(t, variant = "", before = async () => undefined) {
  const made = await world(t, NOTES);
  const { site, browser } = made;
  const [leader, other] = [await browser.open(site.at(variant)), await browser.open(site.at(variant))];
  for (const page of [leader, other]) await page.evaluate(() => openWith("ann", "app.notes"));
  await leader.evaluate(() => client.insert("app.notes", { id: 1, room: 7, body: "before" }));
  await other.evaluate(async () => {
    globalThis.shown = [];
    globalThis.incidents = [];
    client.watch("SELECT id FROM app.notes ORDER BY id").onResult(({ rows }) => shown.push(rows.map(({ id }) => id)));
    client.onIncident(({ kind }) => incidents.push(kind));
    await until("the row", () => shown.at(-1)?.length === 1);
    await client.waitForSync({ timeout: 30_000 });
  });
  const standStill = await browser.processOf(leader);
  await before(other);
  const go = standStill();
  t.after(go);
  return { ...made, leader, other, go };
}

/** Waits until a page has a stand-in, or the replica. */
const has = (page, kind) =>
  page.evaluate(
    (kind) => until(`storage is ${kind}`, () => client.status.storage.kind === kind && client.status.word !== "error"),
    kind,
  );

const isGone = (page) =>
  page.evaluate(
    (name) => until("nothing is left", async () => (await indexedDB.databases()).every((it) => it.name !== name)),
    DATABASE,
  );

test("from a page that stands still the others go on with a stand-in, and come back when it goes on", TIMEOUT, async (t) => {
  const { server, other, go } = await twoPages(t);
  // Nobody knows whether the page that stands still will do it.
  await other.evaluate(() => {
    globalThis.held = client.insert("app.notes", { id: 2, room: 7, body: "held" });
    held.then(() => (globalThis.isHeldDone = true));
  });
  await has(other, "stand-in");
  const written = await other.evaluate(async () => {
    const mutation = await client.insert("app.notes", { id: 3, room: 7, body: "in the stand-in" });
    const { state } = await mutation.decided();
    return { state, rows: await client.query("SELECT id FROM app.notes ORDER BY id"), shown, incidents, isHeldDone: !!globalThis.isHeldDone };
  });
  assert.equal(written.state, "accepted");
  assert.deepEqual(written.rows, [{ id: 1 }, { id: 3 }]);
  assert.ok(written.shown.every((ids) => ids.includes(1)), "what was shown was not gone meanwhile");
  assert.deepEqual(written.incidents, ["stand-in"]);
  assert.equal(written.isHeldDone, false);
  const refused = await other.evaluate(() => failure(() => client.signOut("wipe")));
  assert.equal(refused.code, "conflict");

  go();
  await has(other, "opfs");
  const after = await other.evaluate(async () => {
    await (await held).decided();
    await client.waitForSync({ timeout: 30_000 });
    await until("all are shown", () => shown.at(-1).length === 3);
    return (await client.query("SELECT id FROM app.notes ORDER BY id")).map(({ id }) => id);
  });
  assert.deepEqual(after, [1, 2, 3]);
  assert.deepEqual((await server.rows("SELECT id FROM app.notes ORDER BY id")).flat(), ["1", "2", "3"]);
  await isGone(other);
});

test("what waits in a stand-in is sent by the page that has the replica again", TIMEOUT, async (t) => {
  const { server, proxy, other, go } = await twoPages(t);
  await has(other, "stand-in");
  proxy.cut();
  await other.evaluate(async () => {
    globalThis.written = await client.insert("app.notes", { id: 2, room: 7, body: "offline" });
    globalThis.taken = await client.insert("app.notes", { id: 3, room: 7, body: "taken back" });
  });
  go();
  await has(other, "opfs");
  const waiting = await other.evaluate(async () => {
    const { mutations } = await client.pending();
    const found = await client.mutation(written.id);
    return { ids: mutations.map(({ id }) => id), own: [written.id, taken.id], state: found.state.state, isBack: await taken.cancel() };
  });
  assert.deepEqual(waiting.ids, waiting.own);
  assert.deepEqual([waiting.state, waiting.isBack], ["queued", true]);
  proxy.open();
  const state = await other.evaluate(async () => {
    await client.waitForSync({ timeout: 30_000 });
    return (await written.decided()).state;
  });
  assert.equal(state, "accepted");
  assert.deepEqual((await server.rows("SELECT id FROM app.notes ORDER BY id")).flat(), ["1", "2"]);
  await isGone(other);
});

test("what waits in a stand-in outlasts the browser", TIMEOUT, async (t) => {
  const { server, proxy, site, browser, other } = await twoPages(t);
  await has(other, "stand-in");
  proxy.cut();
  await other.evaluate(() => client.insert("app.notes", { id: 2, room: 7, body: "offline" }));
  await browser.kill();
  await browser.start();
  const page = await browser.open(site.url);
  const count = await page.evaluate(async () => {
    globalThis.client = open("ann");
    client.subscribe("SELECT * FROM app.notes");
    await client.opened;
    await until("it waits", async () => (await client.pending()).count === 1);
    return await failure(() => client.signOut("wipe"));
  });
  assert.equal(count.code, "conflict");
  proxy.open();
  await page.evaluate(() => until("it is sent", async () => (await client.pending()).count === 0));
  await page.evaluate(() => client.waitForSync({ timeout: 30_000 }));
  assert.deepEqual((await server.rows("SELECT id FROM app.notes ORDER BY id")).flat(), ["1", "2"]);
  await isGone(page);
});

test("what the server rejects of a stand-in is dealt with by the page that has the replica again", TIMEOUT, async (t) => {
  const { server, proxy, other, go } = await twoPages(t);
  await has(other, "stand-in");
  proxy.cut();
  await server.sql("INSERT INTO app.notes (id, room) VALUES (2, 7)");
  await server.sql("INSERT INTO app.notes (id, room) VALUES (3, 7)");
  await other.evaluate(async () => {
    globalThis.written = await client.insert("app.notes", { id: 2, room: 8 });
    await client.insert("app.notes", { id: 3, room: 8 });
  });
  go();
  await has(other, "opfs");
  proxy.open();
  const said = await other.evaluate(async () => {
    const state = await written.decided();
    const rejections = await until("both", async () => (await client.rejections()).length === 2 && client.rejections());
    const again = await client.transaction((tx) => tx.update("app.notes", { id: 2 }, { room: 9 }));
    const wasThere = await rejections[0].discard();
    const retried = await rejections[1].retry();
    return { state, ids: rejections.map(({ id }) => id), own: written.id, wasThere, again: !!again, retried: await retried.decided() };
  });
  assert.deepEqual([said.state.state, said.state.code], ["rejected", "constraint"]);
  assert.equal(said.ids[0], said.own);
  assert.equal(said.wasThere, true);
  assert.equal(said.retried.state, "rejected");
  await other.evaluate(async () => {
    for (const rejection of await client.rejections()) await rejection.discard();
  });
  await isGone(other);
});

test("of a transaction whose end nobody knows is told what it was, once that is known", TIMEOUT, async (t) => {
  const { server, other, go } = await twoPages(t, "", (other) =>
    other.evaluate(async () => {
      const begun = new Promise((resolve) => {
        globalThis.committed = client.transaction(async (tx) => {
          await tx.insert("app.notes", { id: 2, room: 7 });
          resolve();
          await new Promise((go) => setTimeout(go, 100));
        });
      });
      await begun;
    }),
  );
  await other.evaluate(() => {
    const tell = (outcome) => () => (globalThis.outcome = outcome);
    committed.then(tell("committed"), tell("undone"));
  });
  await has(other, "stand-in");
  assert.equal(await other.evaluate(() => globalThis.outcome), undefined);
  await other.evaluate(async () => (await client.insert("app.notes", { id: 3, room: 7 })).decided());
  go();
  const outcome = await other.evaluate(async () => {
    await until("it is known", () => globalThis.outcome);
    await client.waitForSync({ timeout: 30_000 });
    return globalThis.outcome;
  });
  const ids = (await server.rows("SELECT id FROM app.notes ORDER BY id")).flat();
  assert.deepEqual(ids, outcome === "committed" ? ["1", "2", "3"] : ["1", "3"]);
});

test("whoever stands in may end as well", TIMEOUT, async (t) => {
  const { server, browser, site, other, go } = await twoPages(t);
  await has(other, "stand-in");
  const third = await browser.open(site.url);
  await third.evaluate(() => openWith("ann", "app.notes"));
  assert.equal(await third.evaluate(() => client.status.storage.kind), "stand-in");
  await third.evaluate(() => client.insert("app.notes", { id: 2, room: 7 }));
  await other.close();
  await third.evaluate(async () => (await client.insert("app.notes", { id: 3, room: 7 })).decided());
  go();
  await has(third, "opfs");
  await third.evaluate(() => client.waitForSync({ timeout: 30_000 }));
  assert.deepEqual((await server.rows("SELECT id FROM app.notes ORDER BY id")).flat(), ["1", "2", "3"]);
  await isGone(third);
});

test("without private files a page takes the replica from one that stands still", TIMEOUT, async (t) => {
  const { server, leader, other, go } = await twoPages(t, "without-opfs");
  await other.evaluate(async () => {
    await (await client.insert("app.notes", { id: 2, room: 7, body: "taken" })).decided();
  });
  assert.equal(await other.evaluate(() => client.status.storage.kind), "indexeddb");
  go();
  await leader.evaluate(async () => {
    await (await client.insert("app.notes", { id: 3, room: 7, body: "of the one that stood still" })).decided();
  });
  assert.deepEqual((await server.rows("SELECT id FROM app.notes ORDER BY id")).flat(), ["1", "2", "3"]);
});
