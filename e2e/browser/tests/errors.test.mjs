import assert from "node:assert/strict";
import { test } from "node:test";

import { reload } from "./support/browser.mjs";
import { NOTES, TIMEOUT, world } from "./support/world.mjs";

test("what is wrong is told by its code", TIMEOUT, async (t) => {
  const { open } = await world(t, NOTES);
  const page = await open();
  const said = await page.evaluate(async () => {
    const client = open("ann");
    await client.subscribe("SELECT * FROM app.notes").ready();
    const refused = client.subscribe("SELECT * FROM app.absent");
    const results = [];
    client.watch("SELECT * FROM app.absent").onResult((result) => results.push(result));
    return {
      syntax: await failure(() => client.query("SELEC 1")),
      unknownTable: await failure(() => client.query("SELECT * FROM app.absent")),
      unknownColumn: await failure(() => client.query("SELECT colour FROM app.notes")),
      constraint: await failure(() => client.execute("INSERT INTO app.notes (id) VALUES (1)")),
      readOnly: await failure(() => client.query("DELETE FROM app.notes")),
      refused: await failure(() => refused.ready()),
      refusedState: refused.state,
      // Until it is refused it may come, so the first result may be that it loads.
      watched: await until("its error", () => results.at(-1)?.error?.code),
      unsupported: await failure(() => client.subscribe("SELECT count(*) FROM app.notes").ready()),
      remote: await failure(() => client.remote("SELECT * FROM app.absent")),
      value: await failure(() => client.query("SELECT $1", [() => 1])),
      map: await failure(() => client.query("SELECT $1", [new Map()])),
      options: await failure(async () => tidewire.createClient({ url: "nowhere:1", user: "ann", token: () => "" })),
    };
  });
  assert.equal(said.syntax.code, "invalid_request");
  assert.equal(said.unknownTable.code, "not_found");
  assert.match(said.unknownTable.message, /app\.absent/);
  assert.ok(["not_found", "invalid_request"].includes(said.unknownColumn.code), said.unknownColumn.code);
  assert.match(said.unknownColumn.message, /colour/);
  assert.equal(said.constraint.code, "constraint");
  assert.match(said.constraint.message, /room/);
  assert.ok(["invalid_request", "unsupported"].includes(said.readOnly.code), said.readOnly.code);
  assert.equal(said.refused.code, "not_found");
  assert.equal(said.refusedState, "refused");
  assert.equal(said.unsupported.code, "unsupported");
  assert.equal(said.watched, "not_found");
  assert.equal(said.remote.code, "not_found");
  assert.equal(said.value.code, "invalid_request");
  assert.equal(said.map.code, "invalid_request");
  assert.equal(said.options.code, "invalid_request");
  for (const failure of Object.values(said)) if (failure?.message) assert.ok(failure.isError, failure.message);
});

test("a rejection is kept over a reload, until it is retried or discarded", TIMEOUT, async (t) => {
  const { server, proxy, open } = await world(
    t,
    "CREATE SHARED TABLE app.names (name TEXT PRIMARY KEY, owner TEXT) WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = owner)",
  );
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.names"));
  proxy.cut();
  await server.sql("INSERT INTO app.names (name) VALUES ('blue'), ('green')", [], "bob");
  await page.evaluate(async () => {
    for (const name of ["blue", "green", "red"]) await client.insert("app.names", { name });
    globalThis.lists = [];
    client.onRejections((rejections) => lists.push(rejections));
  });
  proxy.open();
  const codes = await page.evaluate(async () => {
    const list = await until("two rejections", () => lists.at(-1)?.length === 2 && lists.at(-1));
    return list.map(({ state }) => `${state.state} ${state.code}`);
  });
  assert.deepEqual(codes, ["rejected constraint", "rejected constraint"]);

  await reload(page);
  const kept = await page.evaluate(async () => {
    globalThis.client = open("ann");
    client.subscribe("SELECT * FROM app.names");
    globalThis.lists = [];
    client.onRejections((rejections) => lists.push(rejections));
    const list = await until("those before", () => lists.at(-1)?.length === 2 && lists.at(-1));
    return { rejections: list.map((it) => ({ ...it })), reason: list[0].state.reason };
  });
  assert.ok(kept.rejections[0].writtenAt instanceof Date);
  assert.ok(kept.reason.length > 0);
  const [operation] = kept.rejections[0].operations;
  assert.equal(operation.table, "app.names");
  assert.equal(operation.kind, "insert");
  assert.deepEqual(operation.key, { name: "blue" });
  assert.equal(operation.set.name, "blue");
  assert.equal(operation.server.state, "row");
  assert.equal(operation.server.row.owner, "bob");

  await server.sql("DELETE FROM app.names WHERE name = 'blue'", [], "bob");
  const dealt = await page.evaluate(async () => {
    const [blue, green] = await client.rejections();
    const mutation = await blue.retry();
    const isDiscarded = await green.discard();
    const state = await mutation.decided();
    await until("none is left", () => lists.at(-1)?.length === 0);
    return { isDiscarded, again: await green.discard(), state, left: (await client.rejections()).length };
  });
  assert.equal(dealt.isDiscarded, true);
  assert.equal(dealt.again, false);
  assert.equal(dealt.state.state, "accepted");
  assert.equal(dealt.left, 0);
  const names = await server.rows("SELECT name, owner FROM app.names ORDER BY name");
  assert.deepEqual(names, [["blue", "ann"], ["green", "bob"], ["red", "ann"]]);
});

test("without a token everything local goes on, and the status says why", TIMEOUT, async (t) => {
  const { open } = await world(t, NOTES);
  const page = await open();
  const said = await page.evaluate(async () => {
    globalThis.isAllowed = false;
    const token = async () => {
      if (!isAllowed) throw new Error("the session is over");
      return await (await fetch("/token?user=ann")).text();
    };
    const client = open("ann", { token });
    const subscription = client.subscribe("SELECT * FROM app.notes");
    const status = await until("needs_auth", () => client.status.word === "needs_auth" && client.status);
    await client.query("SELECT 1");
    isAllowed = true;
    await subscription.ready();
    return status;
  });
  assert.equal(said.reason.code, "needs_auth");
  assert.match(said.reason.message, /the session is over/);
});
