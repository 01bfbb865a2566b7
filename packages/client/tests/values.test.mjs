import assert from "node:assert/strict";
import { test } from "node:test";

import { createdClient, openClient, OPENED } from "./fake.mjs";
import { createClient } from "../dist/index.js";

test("what is given is taken as it is at the call, however long that waits", async () => {
  const { client, worker } = await createdClient(createClient);
  const bytes = new Uint8Array([1, 2]);
  const { buffer } = new Uint8Array([3, 4]);
  const date = new Date(5);
  const params = [bytes, buffer, new DataView(bytes.buffer), date];
  client.query("SELECT", params).catch(() => undefined);
  client.insert("a.b", { bytes, date }).catch(() => undefined);
  client.subscribe("SELECT", params);
  client.watch("SELECT", params).onResult(() => undefined);
  client.transaction((tx) => tx.execute("UPDATE", params)).catch(() => undefined);
  bytes[0] = 9;
  new Uint8Array(buffer)[0] = 9;
  date.setTime(9);
  worker.say(OPENED);
  const taken = [new Uint8Array([1, 2]), new Uint8Array([3, 4]), new Uint8Array([1, 2]), new Date(5)];
  assert.deepEqual(worker.call("query").args[1], taken);
  assert.deepEqual(worker.call("write").args[0][0].values, { bytes: taken[0], date: taken[3] });
  assert.deepEqual(worker.call("subscribe").args[2], taken);
  assert.deepEqual(worker.call("watch").args[2], taken);
  assert.deepEqual(worker.call("run").args[1].params, taken);
});

test("half of a character is refused, and not made another one", async (t) => {
  const { client, worker } = await openClient(createClient);
  const half = "🌊".slice(0, 1);
  const refused = { code: "invalid_request", message: /half of a surrogate pair/ };
  const check = async () => {
    await assert.rejects(client.query("SELECT $1", [half]), refused);
    await assert.rejects(client.query(`SELECT '${half}'`), refused);
    await assert.rejects(client.insert("a.b", { body: `x${half}` }), refused);
    await assert.rejects(client.update("a.b", { id: half }, { body: 1 }), refused);
    await assert.rejects(client.execute(`INSERT '${half}'`), refused);
    await assert.rejects(client.remote(`INSERT '${half}'`), refused);
    assert.throws(() => client.subscribe("SELECT", [half]), refused);
    assert.throws(() => client.watch(`SELECT '${half}'`), refused);
  };
  await check();
  // A browser that does not have it.
  const { isWellFormed } = String.prototype;
  t.after(() => Object.assign(String.prototype, { isWellFormed }));
  String.prototype.isWellFormed = undefined;
  await check();
  assert.deepEqual(worker.ops, []);
  client.query("SELECT $1", ["🌊 whole"]).catch(() => undefined);
  assert.deepEqual(worker.call("query").args[1], ["🌊 whole"]);
});
