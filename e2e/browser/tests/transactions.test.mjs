import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTES, TIMEOUT, world } from "./support/world.mjs";

test("a transaction is done as a whole, and nobody reads in the middle of it", TIMEOUT, async (t) => {
  const { server, open } = await world(t, NOTES);
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = (globalThis.client = open("ann"));
    await client.subscribe("SELECT * FROM app.notes").ready();
    const told = [];
    const { value, mutation } = await client.transaction(async (tx) => {
      const affected = await tx.execute("INSERT INTO app.notes (id, room, body) VALUES (1, 7, 'one')");
      await tx.insert("app.notes", { id: 2, room: 7, body: "two" });
      await tx.update("app.notes", { id: 2 }, { body: "second" });
      const inside = await tx.query("SELECT id, body FROM app.notes ORDER BY id");
      globalThis.outside = client.query("SELECT id FROM app.notes").then((rows) => {
        told.push("query");
        return rows;
      });
      await new Promise((resolve) => setTimeout(resolve, 50));
      told.push("end");
      return { affected, inside };
    });
    const outside = await globalThis.outside;
    return { value, told, outside, id: mutation.id, decided: await mutation.decided() };
  });
  assert.deepEqual(said.value, { affected: 1, inside: [{ id: 1, body: "one" }, { id: 2, body: "second" }] });
  assert.deepEqual(said.told, ["end", "query"]);
  assert.deepEqual(said.outside, [{ id: 1 }, { id: 2 }]);
  assert.equal(said.decided.state, "accepted");
  assert.deepEqual(await server.rows("SELECT id, body FROM app.notes ORDER BY id"), [["1", "one"], ["2", "second"]]);

  const undone = await page.evaluate(async () => {
    class Own extends Error {}
    let isOwn = false;
    let later;
    let leaked;
    const before = (await client.pending()).count;
    try {
      await client.transaction(async (tx) => {
        await tx.delete("app.notes", { id: 1 });
        later = client.query("SELECT id FROM app.notes ORDER BY id");
        leaked = tx;
        throw new Own("no");
      });
    } catch (error) {
      isOwn = error instanceof Own;
    }
    const after = await failure(() => leaked.execute("DELETE FROM app.notes"));
    return { isOwn, before, after, rows: await later, pending: (await client.pending()).count };
  });
  assert.ok(undone.isOwn);
  assert.deepEqual(undone.rows, [{ id: 1 }, { id: 2 }]);
  assert.equal(undone.pending, undone.before);
  assert.equal(undone.after.code, "cancelled");
});

test("a statement that fails leaves the transaction open, and one that takes too long is undone", TIMEOUT, async (t) => {
  const { open } = await world(t, NOTES);
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = open("ann");
    await client.subscribe("SELECT * FROM app.notes").ready();
    const { value } = await client.transaction(async (tx) => {
      await tx.insert("app.notes", { id: 1, room: 7 });
      const twice = await failure(() => tx.insert("app.notes", { id: 1, room: 7 }));
      await tx.insert("app.notes", { id: 2, room: 7 });
      return twice;
    });
    const slow = await failure(() =>
      client.transaction(async (tx) => {
        await tx.delete("app.notes", { id: 1 });
        await new Promise((resolve) => setTimeout(resolve, 1_500));
        await tx.delete("app.notes", { id: 2 });
      }),
    );
    // Whoever has it, waits for nothing that comes.
    const hanging = await failure(() => client.transaction(() => new Promise(() => undefined)));
    const rows = await client.query("SELECT id FROM app.notes ORDER BY id");
    return { twice: value, slow, hanging, rows };
  });
  assert.equal(said.twice.code, "constraint");
  assert.equal(said.slow.code, "timeout");
  assert.equal(said.hanging.code, "timeout");
  assert.deepEqual(said.rows, [{ id: 1 }, { id: 2 }]);
});

test("what a transaction expects is checked by the server", TIMEOUT, async (t) => {
  const { server, proxy, open } = await world(t, NOTES);
  await server.sql("INSERT INTO app.notes (id, room, body) VALUES (1, 7, 'old')");
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.notes"));
  proxy.cut();
  await server.sql("UPDATE app.notes SET body = 'other' WHERE id = 1");
  await page.evaluate(async () => {
    const { mutation } = await client.transaction(async (tx) => {
      await tx.expect("app.notes", { id: 1 }, { body: "old" });
      await tx.update("app.notes", { id: 1 }, { body: "new" });
    });
    globalThis.mutation = mutation;
  });
  proxy.open();
  const decided = await page.evaluate(() => mutation.decided());
  assert.equal(decided.state, "rejected");
  assert.equal(decided.code, "conflict");
  assert.deepEqual(await server.rows("SELECT body FROM app.notes"), [["other"]]);
});

test("why a transaction cannot begin is told", TIMEOUT, async (t) => {
  const { proxy, open } = await world(t, NOTES);
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.notes"));
  proxy.cut();
  const said = await page.evaluate(async () => {
    await until("offline", () => client.status.word === "offline");
    const write = (tx) => tx.insert("app.notes", { id: 1, room: 7 });
    const offline = await failure(() => client.transaction(write, { online: true }));
    const hanging = await failure(() => client.transaction(() => new Promise(() => undefined), { online: true }));
    const empty = await failure(() => client.transaction(() => 1, { online: true }));
    const gone = await failure(() => client.transaction(write, { replaces: 999 }));
    await client.suspend(5_000);
    const suspended = await failure(() => client.transaction(write));
    client.resume();
    const { value } = await client.transaction(async (tx) => (await tx.query("SELECT 1 AS one"))[0].one);
    return { offline, hanging, empty, gone, suspended, value };
  });
  const { offline, hanging, empty, gone, suspended, value } = said;
  assert.deepEqual([offline, hanging, empty, suspended].map(({ code }) => code), ["offline", "offline", "offline", "cancelled"]);
  assert.ok(["not_found", "conflict"].includes(gone.code), `${gone.code} ${gone.message}`);
  assert.equal(value, 1);
});
