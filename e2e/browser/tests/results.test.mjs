import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTES, TIMEOUT, world } from "./support/world.mjs";

test("rows that are unchanged are the same objects, and all watches of a step are told together", TIMEOUT, async (t) => {
  const { server, open } = await world(t, NOTES);
  await server.sql("INSERT INTO app.notes (id, room, body) VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 7, 'c')");
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = open("ann");
    await client.subscribe("SELECT * FROM app.notes").ready();
    const told = [];
    const watches = {
      all: client.watch("SELECT id, body FROM app.notes ORDER BY id"),
      count: client.watch("SELECT count(*) AS n FROM app.notes"),
      other: client.watch("SELECT 1 AS one"),
    };
    const last = {};
    for (const [name, watch] of Object.entries(watches)) {
      watch.onResult((result) => {
        last[name] = result;
        // What each of them has at the moment in which one of them is told.
        told.push({ name, all: watches.all.result?.rows.length, n: watches.count.result?.rows[0]?.n });
      });
    }
    await until("all", () => Object.keys(last).length === 3 && last.all.rows.length === 3 && last.all.state === "live");
    const first = { ...last };
    told.length = 0;
    await client.batch([
      "UPDATE app.notes SET body = 'B' WHERE id = 2",
      "INSERT INTO app.notes (id, room, body) VALUES (4, 7, 'd')",
      "DELETE FROM app.notes WHERE id = 1",
      "INSERT INTO app.notes (id, room, body) VALUES (0, 7, 'z')",
    ]);
    await until("the write", () => last.all !== first.all && last.count !== first.count);
    const list = tidewire.applyDiff([..."abc"], last.all.rows, last.all.diff, ({ body }) => `new ${body}`);
    return {
      told: [...told],
      rows: last.all.rows,
      diff: last.all.diff,
      isSame: last.all.rows[2] === first.all.rows[2],
      isOther: last.all.rows[1] !== first.all.rows[1],
      other: last.other.rows === first.other.rows,
      list,
    };
  });
  assert.deepEqual(said.rows, [
    { id: 0, body: "z" },
    { id: 2, body: "B" },
    { id: 3, body: "c" },
    { id: 4, body: "d" },
  ]);
  assert.ok(said.isSame && said.isOther && said.other);
  assert.deepEqual(said.diff, { key: ["id"], removed: [0], inserted: [0, 3], updated: [{ from: 1, to: 1 }], moved: [] });
  assert.deepEqual(said.list, ["new z", "new B", "c", "new d"]);
  assert.deepEqual(said.told.filter(({ name }) => name === "other"), []);
  for (const { all, n } of said.told) assert.deepEqual([all, n], [4, 4]);
});

test("whoever is slow gets the latest result, and all that is new in it", TIMEOUT, async (t) => {
  const { open } = await world(t, NOTES);
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = open("ann");
    await client.subscribe("SELECT * FROM app.notes").ready();
    const watch = client.watch("SELECT id, body FROM app.notes ORDER BY id");
    const results = [];
    watch.onResult((result) => results.push(result));
    const slow = watch[Symbol.asyncIterator]();
    const first = (await slow.next()).value;
    for (let id = 1; id <= 5; id += 1) {
      await client.insert("app.notes", { id, room: 7, body: "new" });
      await until("it", () => results.at(-1).rows.length === id);
    }
    const second = (await slow.next()).value;
    await client.execute("UPDATE app.notes SET body = 'changed' WHERE id = 3");
    await until("the change", () => results.at(-1).rows[2].body === "changed");
    await client.execute("DELETE FROM app.notes WHERE id = 1");
    await until("the end", () => results.at(-1).rows.length === 4);
    const third = (await slow.next()).value;
    await slow.return();
    watch.close();
    const ended = await watch[Symbol.asyncIterator]().next();
    return { first, second, third, isShared: second.rows[4] === third.rows[3], ended };
  });
  assert.deepEqual(said.first.rows, []);
  assert.deepEqual(said.second.diff.inserted, [0, 1, 2, 3, 4]);
  assert.deepEqual(said.third.diff, { key: ["id"], removed: [0], inserted: [], updated: [{ from: 2, to: 1 }], moved: [] });
  assert.ok(said.isShared);
  assert.equal(said.ended.done, true);
});

test("every kind of value comes back as it went", TIMEOUT, async (t) => {
  const { server, open } = await world(
    t,
    `CREATE USER TABLE app.kinds (id BIGINT PRIMARY KEY, at TIMESTAMP, big BIGINT, small INT, part DOUBLE, body TEXT,
      raw BYTES, doc JSON, yes BOOLEAN, no BOOLEAN, mark UUID, none TEXT)`,
  );
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = (globalThis.client = open("ann"));
    await client.subscribe("SELECT * FROM app.kinds").ready();
    const whole = new Uint8Array([9, 9, 0, 1, 255, 9]);
    const given = {
      id: 1,
      at: new Date("2026-01-31T09:30:00.250Z"),
      big: 9_007_199_254_740_993n,
      small: -12,
      part: 0.1,
      body: "täxt 🌊",
      raw: whole.subarray(2, 5),
      doc: { list: [1, "two", null], nested: { is: true } },
      yes: true,
      no: false,
      mark: "01234567-89ab-cdef-0001-02030405feff",
      none: undefined,
    };
    const mutation = await client.insert("app.kinds", given);
    const [row] = await client.query("SELECT * FROM app.kinds WHERE big = $1 AND at = $2", [given.big, given.at]);
    const decided = await mutation.decided();
    const [remote] = (await client.remote("SELECT * FROM app.kinds")).rows;
    const [{ least, most, exact }] = await client.query("SELECT $1 AS least, $2 AS most, $3 AS exact", [
      -(2n ** 63n),
      2n ** 63n - 1n,
      Number.MIN_SAFE_INTEGER,
    ]);
    const { _seq, ...columns } = row;
    return {
      decided: decided.state,
      row: { ...columns, big: `${typeof row.big} ${row.big}`, raw: [...row.raw] },
      edges: [least, most, exact].map((it) => `${typeof it} ${it}`),
      isBytes: row.raw instanceof Uint8Array,
      at: tidewire.toDate(row.at).toISOString(),
      remote: { big: `${typeof remote.big} ${remote.big}`, raw: [...remote.raw], none: remote.none, yes: remote.yes },
    };
  });
  assert.equal(said.decided, "accepted");
  assert.deepEqual(said.row, {
    id: 1,
    at: Date.parse("2026-01-31T09:30:00.250Z") * 1_000,
    big: "bigint 9007199254740993",
    small: -12,
    part: 0.1,
    body: "täxt 🌊",
    raw: [0, 1, 255],
    doc: '{"list":[1,"two",null],"nested":{"is":true}}',
    yes: 1,
    no: 0,
    mark: "01234567-89ab-cdef-0001-02030405feff",
    none: null,
  });
  assert.deepEqual(said.edges, [
    "bigint -9223372036854775808",
    "bigint 9223372036854775807",
    "number -9007199254740991",
  ]);
  assert.ok(said.isBytes);
  assert.equal(said.at, "2026-01-31T09:30:00.250Z");
  assert.deepEqual(said.remote, { big: "bigint 9007199254740993", raw: [0, 1, 255], none: null, yes: true });
  const [there] = await server.rows("SELECT at, big, raw, doc, yes, no, mark, none, part FROM app.kinds", "ann");
  assert.deepEqual(there, [
    "2026-01-31T09:30:00.25Z",
    "9007199254740993",
    Buffer.from([0, 1, 255]).toString("base64"),
    '{"list":[1,"two",null],"nested":{"is":true}}',
    true,
    false,
    "01234567-89ab-cdef-0001-02030405feff",
    null,
    0.1,
  ]);
});
