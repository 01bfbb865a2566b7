// Several pages of a site are one client.
import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "./support/browser.mjs";
import { ENDS, TYPED, begin, checkTyped, goesOn, type, typed } from "./support/tabs.mjs";
import { NOTES, TIMEOUT, world } from "./support/world.mjs";

test("two pages have one replica and one connection, and each sees at once what the other writes", TIMEOUT, async (t) => {
  const { server, proxy, open } = await world(t, NOTES);
  const first = await open();
  await first.evaluate(() => openWith("ann", "app.notes"));
  const connections = proxy.connections;
  const second = await open();
  const said = await second.evaluate(async () => {
    await openWith("ann", "app.notes");
    globalThis.results = [];
    client.watch("SELECT body FROM app.notes ORDER BY id").onResult(({ rows }) => results.push(rows.map(({ body }) => body)));
    await until("a first result", () => results.length > 0);
    return { status: client.status.word, storage: client.status.storage.kind, rows: results[0] };
  });
  assert.deepEqual(said, { status: "connected", storage: "opfs", rows: [] });
  assert.equal(proxy.connections, connections);

  proxy.cut();
  await first.evaluate(async () => {
    globalThis.written = await client.insert("app.notes", { id: 1, room: 7, body: "of the first" });
  });
  await second.evaluate(async () => {
    await until("what the first has written", () => results.at(-1)[0] === "of the first");
    globalThis.mutation = await client.insert("app.notes", { id: 2, room: 7, body: "of the second" });
  });
  assert.equal(await second.evaluate(async () => (await client.pending()).count), 2);
  proxy.open();
  const states = await Promise.all([
    first.evaluate(async () => (await written.decided()).state),
    second.evaluate(async () => (await mutation.decided()).state),
  ]);
  assert.deepEqual(states, ["accepted", "accepted"]);
  assert.deepEqual((await server.rows("SELECT id FROM app.notes ORDER BY id")).flat(), ["1", "2"]);
});

for (const way of Object.keys(ENDS)) {
  test(`the page that has the replica ends (${way}): the other goes on, and nothing is lost or doubled`, TIMEOUT, async (t) => {
    const made = await world(t, TYPED);
    made.browser.allow(/the page has crashed/);
    const { leader } = await goesOn(t, made, way, (leader) => leader.evaluate(beginTransaction));
    if (["terminate", "trap"].includes(way)) await leader.evaluate(() => client.query("SELECT 1"));
  });
}

/** It runs in the page. Of it nothing is to be there. */
async function beginTransaction() {
  await new Promise((resolve) => {
    client
      .transaction(async (tx) => {
        await tx.insert("app.typed", { id: 1_000_000, page: 1 });
        resolve();
        await new Promise(() => undefined);
      })
      .catch(() => undefined);
  });
}

test("what is stored and not answered is not done again, and the answer is the same", TIMEOUT, async (t) => {
  const { server, proxy, site, browser, open } = await world(t, TYPED);
  const leader = await browser.open(site.at("mute"));
  await begin(leader);
  const other = await open();
  await begin(other);
  await other.evaluate(() => {
    const next = "INSERT INTO app.typed (id, page) SELECT coalesce(max(id), 0) + 1, 2 FROM app.typed RETURNING id";
    globalThis.written = client.execute(next);
    globalThis.committed = client.transaction(async (tx) => {
      await tx.execute(next);
      return "done";
    });
  });
  // Both are stored, and decided, before the page ends that did it.
  await leader.evaluate(() => until("both", async () => (await client.query("SELECT id FROM app.typed")).length === 2));
  await leader.evaluate(() => client.waitForSync({ timeout: 30_000 }));
  proxy.cut();
  await leader.close();
  const said = await other.evaluate(async () => {
    const [write, { value, mutation }] = [await written, await committed];
    const states = [await write.decided(), await mutation.decided()].map(({ state }) => state);
    const rows = await client.query("SELECT id FROM app.typed ORDER BY id");
    return { rows: write.rows, affected: write.rowsAffected, value, states, ids: rows.map(({ id }) => id) };
  });
  assert.deepEqual(said, { rows: [{ id: 1 }], affected: 1, value: "done", states: ["accepted", "accepted"], ids: [1, 2] });
  assert.deepEqual((await server.rows("SELECT id FROM app.typed ORDER BY id", "ann")).flat(), ["1", "2"]);
});

test("a trap ends the worker for all pages at once, whatever its own page is busy with", TIMEOUT, async (t) => {
  const { server, site, browser, open } = await world(t, TYPED);
  browser.allow(/unreachable/);
  const leader = await browser.open(site.at("obedient"));
  await begin(leader);
  const other = await open();
  await begin(other);
  await type(other, 2);
  await until("it has begun", () => other.evaluate(() => acknowledged.length > 5));
  const busy = leader.evaluate(() => {
    workers.at(-1).postMessage({ type: "trap" });
    const end = performance.now() + 4_000;
    while (performance.now() < end);
  });
  await other.evaluate(() => until("it leads", () => isLeading()));
  const before = await other.evaluate(() => acknowledged.length);
  await until("it goes on", () => other.evaluate((before) => acknowledged.length > before + 5, before));
  await busy;
  await leader.evaluate(() => client.query("SELECT 1"));
  const { acknowledged, failures, longestGap } = await typed(other);
  assert.deepEqual(failures, []);
  assert.ok(longestGap < 3_500, `it waited ${longestGap} ms for a page that is busy`);
  await checkTyped(other, server, 2, acknowledged);
});

test("what was answered late is not asked for again", TIMEOUT, async (t) => {
  const { proxy, site, browser, open } = await world(t, TYPED);
  const leader = await browser.open(site.at("obedient"));
  await begin(leader);
  const other = await open();
  await begin(other);
  proxy.cut();
  await other.evaluate(() => until("offline", () => client.status.word === "offline"));
  await leader.evaluate(() => workers.at(-1).postMessage({ type: "busy", ms: 8_000 }));
  const said = await other.evaluate(async () => {
    const online = failure(() => client.insert("app.typed", { id: 1, page: 2 }, { online: true }));
    await until("it is said", () => client.status.word === "error");
    const { code } = await online;
    await until("it is served again", () => client.status.word === "offline");
    return { code, rows: await client.query("SELECT * FROM app.typed"), pending: (await client.pending()).count };
  });
  assert.deepEqual(said, { code: "offline", rows: [], pending: 0 });
});

test("who signs out and comes back at once has a replica, and pages that were ended make none", TIMEOUT, async (t) => {
  const { open } = await world(t, NOTES);
  // One of another user leads, so that what is open of ann does not go with its page.
  const leader = await open();
  await leader.evaluate(() => openWith("bob", "app.notes"));
  const [first, second] = [await open(), await open()];
  for (const page of [first, second]) await page.evaluate(() => openWith("ann", "app.notes"));
  const busy = second.evaluate(() => {
    const end = performance.now() + 2_000;
    while (performance.now() < end);
  });
  const rows = await first.evaluate(async () => {
    await client.signOut("wipe");
    await openWith("ann", "app.notes");
    return await client.query("SELECT 1 AS one");
  });
  assert.deepEqual(rows, [{ one: 1 }]);
  await busy;
  await second.evaluate(() => until("it is closed", () => client.status.word === "closed"));
  await first.evaluate(() => client.signOut("wipe"));
  await leader.close();
  await new Promise((resolve) => setTimeout(resolve, 500));
  // Nobody has opened anything again.
  assert.deepEqual(await first.evaluate(async () => (await navigator.locks.query()).held), []);
});

test("a page of a newer release of the application is known to the server as that, and the others go on", TIMEOUT, async (t) => {
  const { open } = await world(t, TYPED);
  const older = await open();
  await begin(older);
  await type(older, 1);
  await until("it has begun", () => older.evaluate(() => acknowledged.length > 5));
  const newer = await open();
  await newer.evaluate(async () => {
    globalThis.client = open("ann", { appVersion: 7 });
    await client.subscribe("SELECT * FROM app.typed").ready();
  });
  assert.equal(await older.evaluate(async () => JSON.stringify(await client.diagnose()).includes('"app_version":7')), true);
  const before = await older.evaluate(() => acknowledged.length);
  await until("it goes on", () => older.evaluate((before) => acknowledged.length > before + 5, before));
  assert.deepEqual((await typed(older)).failures, []);
});

test("where there are no locks a page is alone, and says so when another one has taken what it had", TIMEOUT, async (t) => {
  const { site, browser } = await world(t, NOTES);
  const page = await browser.open(site.at("without-locks"));
  assert.deepEqual(await page.evaluate(async () => {
    await openWith("ann", "app.notes");
    return await client.query("SELECT 1 AS one");
  }), [{ one: 1 }]);
});

test("what the browser has removed is loaded again, and what waited is said to be gone", TIMEOUT, async (t) => {
  const { server, proxy, site, open } = await world(t, NOTES);
  await server.sql("INSERT INTO app.notes (id, room) VALUES (1, 7)");
  const page = await open();
  await page.evaluate(() => openWith("ann", "app.notes"));
  proxy.cut();
  await page.evaluate(async () => {
    globalThis.written = await client.insert("app.notes", { id: 2, room: 7 });
    globalThis.fate = failure(() => written.decided());
  });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Storage.clearDataForOrigin", { origin: new URL(site.url).origin, storageTypes: "all" });
  const { code, message } = await page.evaluate(() => fate);
  assert.equal(code, "internal");
  assert.match(message, /not known any more/);
  proxy.open();
  const rows = await page.evaluate(async () => {
    await until("it is there again", () => client.status.word === "connected");
    return await client.query("SELECT id FROM app.notes");
  });
  assert.deepEqual(rows, [{ id: 1 }]);
});

test("a transaction goes with the page that had the replica, and can be begun again", TIMEOUT, async (t) => {
  const { open } = await world(t, TYPED);
  const leader = await open();
  await begin(leader);
  const other = await open();
  await begin(other);
  await other.evaluate(async () => {
    globalThis.lost = failure(() =>
      client.transaction(async (tx) => {
        await tx.insert("app.typed", { id: 1, page: 2 });
        globalThis.hasBegun = true;
        await new Promise(() => undefined);
      }),
    );
    await until("it has begun", () => globalThis.hasBegun);
  });
  await leader.close();
  const { code, message } = await other.evaluate(() => lost);
  assert.equal(code, "leader_changed");
  assert.match(message, /is undone: start it again/);
  const rows = await other.evaluate(async () => {
    await client.transaction((tx) => tx.insert("app.typed", { id: 2, page: 2 }));
    return await client.query("SELECT id FROM app.typed");
  });
  assert.deepEqual(rows, [{ id: 2 }]);
});

test("what a page watches and waits for goes on in another worker", TIMEOUT, async (t) => {
  const { server, proxy, open } = await world(t, NOTES);
  const leader = await open();
  await leader.evaluate(() => openWith("ann", "app.notes"));
  const other = await open();
  await other.evaluate(async () => {
    await openWith("ann", "app.notes");
    globalThis.results = [];
    client.watch("SELECT id FROM app.notes ORDER BY id").onResult((result) => results.push(result));
    globalThis.statuses = [];
    client.onStatus(({ word }) => statuses.push(word));
  });
  proxy.cut();
  await other.evaluate(async () => {
    globalThis.mutation = await client.insert("app.notes", { id: 1, room: 7 });
    await until("the row", () => results.at(-1)?.rows.length === 1);
    globalThis.row = results.at(-1).rows[0];
    globalThis.decided = mutation.decided();
    globalThis.synced = client.waitForSync({ timeout: 60_000 });
  });
  await leader.close();
  proxy.open();
  assert.equal((await other.evaluate(() => decided)).state, "accepted");
  await other.evaluate(() => synced);
  await server.sql("INSERT INTO app.notes (id, room) VALUES (2, 7)");
  const said = await other.evaluate(async () => {
    await until("the next row", () => results.at(-1).rows.length === 2 && results.at(-1).state === "live");
    return { isSame: results.at(-1).rows[0] === row, isError: statuses.includes("error") };
  });
  assert.deepEqual(said, { isSame: true, isError: false });
});

test("pages rest together, and a page of another user does not", TIMEOUT, async (t) => {
  const { open } = await world(t, NOTES);
  const [first, second, third] = [await open(), await open(), await open()];
  for (const page of [first, second]) await page.evaluate(() => openWith("ann", "app.notes"));
  await third.evaluate(() => openWith("bob", "app.notes"));
  const word = (page, wanted) =>
    page.evaluate((wanted) => until(wanted, () => client.status.word === wanted), wanted);
  await first.evaluate(() => client.pause());
  await word(second, "paused");
  assert.equal(await third.evaluate(() => client.status.word), "connected");
  // Who comes later finds it so, also in another worker.
  const later = await open();
  await later.evaluate(() => void (globalThis.client = open("ann")));
  await word(later, "paused");
  await first.close();
  await second.evaluate(() => client.query("SELECT 1"));
  await word(second, "paused");
  await second.evaluate(() => client.resume());
  await word(later, "connected");
  await word(second, "connected");
});

test("who signs out on one page is signed out on all", TIMEOUT, async (t) => {
  const { open } = await world(t, NOTES);
  const [first, second] = [await open(), await open()];
  for (const page of [first, second]) await page.evaluate(() => openWith("ann", "app.notes"));
  await second.evaluate(() => client.signOut("wipe"));
  const { code, message } = await first.evaluate(async () => {
    await until("it is closed", () => client.status.word === "closed");
    return await failure(() => client.query("SELECT 1"));
  });
  assert.equal(code, "invalid_request");
  assert.match(message, /signed out on another page/);
  assert.equal(await first.evaluate(() => openWith("ann", "app.notes").then(() => client.status.word)), "connected");
});

test("a page that nobody sees lets go for one that is seen, and rests", TIMEOUT, async (t) => {
  const { open } = await world(t, TYPED);
  const [first, second] = [await open(), await open()];
  await begin(first);
  await begin(second);
  const watch = () => {
    globalThis.counts = [];
    client.watch("SELECT count(*) AS n FROM app.typed").onResult(({ rows }) => counts.push(rows[0].n));
    globalThis.titles = [];
    const options = { whileHidden: true };
    client.watch("SELECT count(*) AS n FROM app.typed", [], options).onResult(({ rows }) => titles.push(rows[0].n));
  };
  await first.evaluate(watch);
  await first.evaluate(() => until("both", () => counts.length > 0 && titles.length > 0));
  await type(second, 2);
  await first.evaluate(() => see(false));
  await until("the second has it", async () => (await second.evaluate(() => isLeading())) && !(await first.evaluate(() => isLeading())));
  const { acknowledged, failures } = await typed(second);
  assert.deepEqual(failures, []);
  assert.equal(new Set(acknowledged).size, acknowledged.length);
  const n = acknowledged.length;
  await first.evaluate((n) => until("the title", () => titles.at(-1) === n), n);
  assert.ok((await first.evaluate(() => counts.at(-1))) < n, "what nobody sees was told");
  await first.evaluate(() => see(true));
  await first.evaluate((n) => until("it is seen", () => counts.at(-1) === n), n);
});

test("a page that goes lets go, and comes back as it was", TIMEOUT, async (t) => {
  const { open } = await world(t, TYPED);
  const [first, second] = [await open(), await open()];
  await begin(first);
  await begin(second);
  await first.evaluate(() => dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true })));
  await second.evaluate(async () => {
    await client.insert("app.typed", { id: 1, page: 2 });
    globalThis.lead = isLeading();
  });
  assert.equal(await second.evaluate(() => lead), true);
  const rows = await first.evaluate(async () => {
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
    await client.insert("app.typed", { id: 2, page: 1 });
    return await client.query("SELECT id FROM app.typed ORDER BY id");
  });
  assert.deepEqual(rows, [{ id: 1 }, { id: 2 }]);
});

test("a page that has the replica and does not answer is said so, and what is asked meanwhile is done", TIMEOUT, async (t) => {
  const { server, open } = await world(t, TYPED);
  const [leader, other] = [await open(), await open()];
  await begin(leader);
  await begin(other);
  await leader.evaluate(() => {
    const endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
    client.query(endless).catch(() => undefined);
  });
  const status = await other.evaluate(async () => {
    globalThis.written = client.insert("app.typed", { id: 1, page: 2 });
    await until("it is said", () => client.status.word === "error");
    return client.status;
  });
  assert.equal(status.reason.code, "leader_changed");
  assert.match(status.reason.message, /show that page, or close it/);
  await leader.close();
  await other.evaluate(async () => {
    await (await written).decided();
    await until("it is well", () => client.status.word === "connected");
  });
  assert.deepEqual(await server.rows("SELECT id FROM app.typed", "ann"), [["1"]]);
});

test("a newer version takes over, and the older page is told so", TIMEOUT, async (t) => {
  const { site, browser, open } = await world(t, TYPED);
  const older = await open();
  await begin(older);
  await older.evaluate(() => {
    globalThis.incidents = [];
    client.onIncident(({ kind }) => incidents.push(kind));
  });
  const newer = await browser.open(site.at("newer"));
  await begin(newer);
  await newer.evaluate(() => until("it leads", () => isLeading()));
  await older.evaluate(() => until("it is told", () => incidents.includes("outdated")));
  await older.evaluate(() => client.insert("app.typed", { id: 1, page: 1 }));
  assert.deepEqual(await newer.evaluate(() => client.query("SELECT id FROM app.typed")), [{ id: 1 }]);

  const other = await browser.open(site.at("other"));
  await begin(other);
  for (const page of [older, newer]) {
    const { code, message } = await page.evaluate(async () => {
      await until("it has ended", () => client.status.word === "error");
      return await failure(() => client.query("SELECT 1"));
    });
    assert.equal(code, "update_required");
    assert.match(message, /load this page again/);
  }
  assert.deepEqual(await other.evaluate(() => client.query("SELECT id FROM app.typed")), [{ id: 1 }]);
});
