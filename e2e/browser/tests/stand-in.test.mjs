// The page that has the private files stands still, as when a browser freezes it. Others go on with replicas of their own.
import assert from "node:assert/strict";
import { test } from "node:test";

import { NOTES, TIMEOUT, world } from "./support/world.mjs";

const ids = async (server) => (await server.rows("SELECT id FROM app.notes ORDER BY id")).flat();

/** Waits until a page has a stand-in, or the replica, and its rows. */
const has = (page, kind) =>
  page.evaluate(async (kind) => {
    await until(`storage is ${kind}`, () => client.status.storage.kind === kind);
    await client.query("SELECT 1");
  }, kind);

/** Pages with one row, of which the first has the replica, and its process. */
async function pages(t, count = 2, subscribe = () => openWith("ann", "app.notes"), variant = "") {
  const made = await world(t, NOTES);
  const { browser, site } = made;
  const open = () => browser.open(site.at(variant));
  const leader = await open();
  await leader.evaluate(() => openWith("ann", "app.notes"));
  await leader.evaluate(async () => (await client.insert("app.notes", { id: 1, room: 7, body: "before" })).decided());
  const others = [];
  for (let at = 1; at < count; at += 1) {
    const page = await open();
    await page.evaluate(subscribe);
    await page.evaluate(watch);
    others.push(page);
  }
  const itsProcess = await browser.processOf(leader);
  t.after(itsProcess.goOn);
  return { ...made, leader, others, other: others[0], itsProcess };
}

/** Notes each result of a query of all rows; and every incident. It runs in a page. */
async function watch() {
  Object.assign(globalThis, { shown: [], incidents: [] });
  client.watch("SELECT id FROM app.notes ORDER BY id").onResult(({ rows }) => shown.push(rows.map(({ id }) => id)));
  client.onIncident(({ kind }) => incidents.push(kind));
  await until("the row", () => shown.at(-1)?.length === 1);
  await client.waitForSync({ timeout: 30_000 });
}

/** Nothing that was shown was ever gone. */
function onlyMore(shown) {
  shown.forEach((ids, at) => {
    const before = shown[at - 1] ?? [];
    assert.ok(before.every((id) => ids.includes(id)), JSON.stringify(shown));
  });
}

test("a page goes on while the leader stands still, and nothing that it shows is gone then or later", TIMEOUT, async (t) => {
  const { server, other, itsProcess } = await pages(t);
  itsProcess.stop();
  // Nobody knows whether the leader will do it.
  await other.evaluate(() => {
    globalThis.held = client.insert("app.notes", { id: 2, room: 7, body: "held" });
    held.then(() => (globalThis.isHeldDone = true));
  });
  await has(other, "stand-in");
  const own = await other.evaluate(async () => (await client.insert("app.notes", { id: 3, room: 7 })).state);
  assert.equal(own.state, "accepted");
  await server.sql("INSERT INTO app.notes (id, room) VALUES (4, 7)");
  const said = await other.evaluate(async () => {
    await until("what others write", () => shown.at(-1).length === 3);
    const rows = await client.query("SELECT id FROM app.notes ORDER BY id");
    return { rows, incidents, isHeldDone: !!globalThis.isHeldDone };
  });
  assert.deepEqual(said, { rows: [{ id: 1 }, { id: 3 }, { id: 4 }], incidents: ["stand-in"], isHeldDone: false });

  itsProcess.goOn();
  await has(other, "opfs");
  const after = await other.evaluate(async () => {
    await (await held).decided();
    await client.waitForSync({ timeout: 30_000 });
    await until("all are shown", () => shown.at(-1).length === 4);
    return { shown, rows: (await client.query("SELECT id FROM app.notes ORDER BY id")).map(({ id }) => id) };
  });
  onlyMore(after.shown);
  assert.deepEqual(after.rows, [1, 2, 3, 4]);
  assert.deepEqual(await ids(server), ["1", "2", "3", "4"]);
});

test("what only the leader can do is refused, or waits for it", TIMEOUT, async (t) => {
  const { server, proxy, leader, other, itsProcess } = await pages(t);
  const mutation = await other.evaluate(async () => (await client.insert("app.notes", { id: 2, room: 7 })).id);
  itsProcess.stop();
  await has(other, "stand-in");
  await server.sql("INSERT INTO app.notes (id, room) VALUES (3, 7)");
  const refused = await other.evaluate(async (id) => {
    const calls = {
      signOut: () => client.signOut("wipe"),
      pending: () => client.pending(),
      mutation: () => client.mutation(id),
      rejections: () => client.rejections(),
      replaces: () => client.insert("app.notes", { id: 9, room: 7 }, { replaces: id }),
      waitForSync: () => client.waitForSync({ timeout: 100 }),
      local: async () => {
        await client.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY)");
        await client.execute("INSERT INTO mine (id) VALUES (1)");
      },
      nothing: () => client.execute("UPDATE app.notes SET body = 'edited' WHERE id = 99"),
      inTransaction: () => client.transaction((tx) => tx.execute("DELETE FROM app.notes WHERE id = 99")),
      rejected: async () => await client.batch([{ insert: "app.notes", values: { id: 3, room: null } }]),
    };
    const codes = {};
    for (const [name, call] of Object.entries(calls)) codes[name] = (await failure(call)).code;
    return codes;
  }, mutation);
  assert.deepEqual(refused, {
    signOut: "conflict",
    pending: "leader_changed",
    mutation: "leader_changed",
    rejections: "leader_changed",
    replaces: "leader_changed",
    waitForSync: "timeout",
    local: "leader_changed",
    nothing: "leader_changed",
    inTransaction: "leader_changed",
    rejected: "constraint",
  });
  // What the server rejects.
  proxy.cut();
  await other.evaluate(async () => {
    await until("offline", () => client.status.word === "offline");
    globalThis.rejected = failure(() => client.insert("app.notes", { id: 5, room: 8 }));
    await client.query("SELECT 1");
  });
  await server.sql("INSERT INTO app.notes (id, room) VALUES (5, 7)");
  proxy.open();
  assert.equal((await other.evaluate(() => rejected)).code, "constraint");
  itsProcess.goOn();
  await has(other, "opfs");
  const kept = await other.evaluate(async () => (await client.rejections()).length);
  assert.equal(kept, 0);
  // The table was made there as well, and has no row.
  assert.deepEqual(await other.evaluate(() => client.query("SELECT count(*) AS n FROM mine")), [{ n: 0 }]);
  assert.equal(await leader.evaluate(async () => (await client.rejections()).length), 0);
});

test("a write that a stand-in has not sent is done by the leader, and one that it has sent is not done twice", TIMEOUT, async (t) => {
  const { server, proxy, other, itsProcess } = await pages(t);
  itsProcess.stop();
  await has(other, "stand-in");
  proxy.stall();
  await other.evaluate(async () => {
    globalThis.outcome = "waits";
    const next = "INSERT INTO app.notes (id, room) SELECT max(id) + 1, 7 FROM app.notes";
    const tell = (said) => (globalThis.outcome = said);
    client.execute(next).then(() => tell("done"), ({ code, message }) => tell(`${code}: ${message}`));
    await until("it is shown", () => shown.at(-1).length === 2);
  });
  itsProcess.goOn();
  await other.evaluate(() => until("it is said", () => outcome !== "waits"));
  assert.match(await other.evaluate(() => outcome), /^leader_changed: .*not known/);
  proxy.goOn();
  await has(other, "opfs");
  await other.evaluate(() => until("it has come", () => shown.at(-1).length === 2));
  assert.deepEqual(await ids(server), ["1", "2"]);

  itsProcess.stop();
  await has(other, "stand-in");
  proxy.cut();
  await other.evaluate(async () => {
    await until("offline", () => client.status.word === "offline");
    globalThis.written = client.insert("app.notes", { id: 3, room: 7, body: "offline" });
    written.then(() => (globalThis.isDone = true));
    const edit = "UPDATE app.notes SET body = 'mine' WHERE id = 1";
    globalThis.guarded = failure(() => client.execute(edit, [], { expect: "unchanged" }));
    await until("it is shown", () => shown.at(-1).length === 3);
  });
  assert.equal(await other.evaluate(() => !!globalThis.isDone), false);
  itsProcess.goOn();
  await has(other, "opfs");
  // Elsewhere it would count on other rows than were shown.
  assert.match((await other.evaluate(() => guarded)).message, /do it again/);
  assert.equal(await other.evaluate(async () => (await written) && (await client.pending()).count), 1);
  proxy.open();
  await other.evaluate(() => client.waitForSync({ timeout: 30_000 }));
  assert.deepEqual(await ids(server), ["1", "2", "3"]);
  onlyMore(await other.evaluate(() => shown));
});

test("a page that goes is told that its write is not known, and comes back to a stand-in", TIMEOUT, async (t) => {
  const { server, proxy, other, itsProcess } = await pages(t);
  itsProcess.stop();
  await has(other, "stand-in");
  proxy.cut();
  const code = await other.evaluate(async () => {
    await until("offline", () => client.status.word === "offline");
    const written = failure(() => client.insert("app.notes", { id: 2, room: 7 }));
    await until("it is shown", () => shown.at(-1).length === 2);
    dispatchEvent(new Event("pagehide"));
    return (await written).message;
  });
  assert.match(code, /not known/);
  proxy.open();
  await other.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await has(other, "stand-in");
  await other.evaluate(async () => (await client.insert("app.notes", { id: 3, room: 7 })).decided());
  itsProcess.goOn();
  await has(other, "opfs");
  assert.deepEqual(await ids(server), ["1", "3"]);
});

test("windows are as wide as before, and what is said of the connection holds, there and back", TIMEOUT, async (t) => {
  const { other, itsProcess } = await pages(t, 2, async () => {
    globalThis.client = open("bob");
    await client.remote("INSERT INTO app.notes (id, room) VALUES (2, 8), (3, 8), (4, 8), (5, 8)");
    globalThis.narrow = client.subscribe("SELECT * FROM app.notes", [], { fetchLast: 1 });
    await narrow.ready();
  });
  await other.evaluate(async () => {
    narrow.loadOlder(1);
    await until("two", () => shown.at(-1).join() === "4,5");
  });
  itsProcess.stop();
  await has(other, "stand-in");
  await other.evaluate(async () => {
    narrow.loadOlder(1);
    await until("three", () => shown.at(-1).length === 3);
    client.pause();
    await until("paused", () => client.status.word === "paused");
  });
  itsProcess.goOn();
  await has(other, "opfs");
  await other.evaluate(() => until("it is paused as it was said", () => client.status.word === "paused"));
  await other.evaluate(async () => {
    client.resume();
    await until("three of the leader", () => client.status.word === "connected" && shown.at(-1).join() === "3,4,5");
  });
  assert.equal(await other.evaluate(() => narrow.state), "live");
});

test("of a transaction whose end nobody knows is told what it was, once that is known", TIMEOUT, async (t) => {
  const { server, other, itsProcess } = await pages(t);
  await other.evaluate(async () => {
    const tell = (outcome) => () => (globalThis.outcome = outcome);
    await new Promise((resolve) => {
      client
        .transaction(async (tx) => {
          await tx.insert("app.notes", { id: 2, room: 7 });
          resolve();
          await new Promise((go) => setTimeout(go, 100));
        })
        .then(tell("committed"), tell("undone"));
    });
  });
  itsProcess.stop();
  await has(other, "stand-in");
  assert.equal(await other.evaluate(() => globalThis.outcome), undefined);
  const inStandIn = await other.evaluate(async () => {
    const { mutation } = await client.transaction(async (tx) => {
      await tx.insert("app.notes", { id: 3, room: 7 });
    });
    return mutation.state.state;
  });
  assert.equal(inStandIn, "accepted");
  itsProcess.goOn();
  const outcome = await other.evaluate(async () => {
    await until("it is known", () => globalThis.outcome);
    await client.waitForSync({ timeout: 30_000 });
    return globalThis.outcome;
  });
  assert.deepEqual(await ids(server), outcome === "committed" ? ["1", "2", "3"] : ["1", "3"]);
});

test("each page has its own, a new one too; and when the leader is killed one of them leads", TIMEOUT, async (t) => {
  const { server, browser, open, others, itsProcess } = await pages(t, 3);
  browser.allow(/./);
  itsProcess.stop();
  const late = await open();
  await late.evaluate(() => openWith("ann", "app.notes"));
  const all = [...others, late];
  await Promise.all(all.map((page) => has(page, "stand-in")));
  await Promise.all(
    all.map((page, number) =>
      page.evaluate((number) => {
        Object.assign(globalThis, { written: [], failures: [], isOver: false });
        // Done twice, it would be two rows.
        const next =
          "INSERT INTO app.notes (id, room) SELECT coalesce(max(id), $1) + 1, $1 FROM app.notes WHERE room = $1 RETURNING id";
        globalThis.writing = (async () => {
          while (!isOver) {
            try {
              const { rows } = await client.execute(next, [1_000 * (number + 1)]);
              written.push(String(rows[0].id));
              await client.query("SELECT count(*) FROM app.notes");
            } catch ({ code, message }) {
              failures.push(`${code}: ${message}`);
            }
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        })();
        return until("some are written", () => written.length > 5);
      }, number),
    ),
  );
  itsProcess.kill();
  await Promise.all(all.map((page) => has(page, "opfs")));
  const told = await Promise.all(
    all.map((page) =>
      page.evaluate(async () => {
        const { length } = written;
        await until("it goes on", () => written.length > length + 5);
        globalThis.isOver = true;
        await writing;
        await client.waitForSync({ timeout: 30_000 });
        return { written, failures };
      }),
    ),
  );
  assert.deepEqual(told.flatMap(({ failures }) => failures), []);
  assert.deepEqual(await ids(server), ["1", ...told.flatMap(({ written }) => written)].sort((a, b) => a - b));
});

test("who signs out on the page that was silent ends the others, too", TIMEOUT, async (t) => {
  const { proxy, leader, other } = await pages(t, 2, undefined, "obedient");
  await leader.evaluate(() => {
    workers.at(-1).postMessage({ type: "busy", ms: 10_000 });
    globalThis.signedOut = client.signOut("keep");
  });
  await has(other, "stand-in");
  proxy.cut();
  await other.evaluate(async () => {
    await until("offline", () => client.status.word === "offline");
    globalThis.written = failure(() => client.insert("app.notes", { id: 2, room: 7 }));
  });
  await leader.evaluate(() => signedOut);
  assert.match((await other.evaluate(() => written)).message, /not known/);
  assert.equal(await other.evaluate(() => client.status.word), "closed");
});
