// The private files of the origin, and the workers that have them one after the other: without the package, which has
// one worker of them at a time.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Browser, until } from "./support/browser.mjs";
import { Site } from "./support/site.mjs";
import { TIMEOUT } from "./support/world.mjs";

/** Where no server is: what `pages/cores.js` connects to. */
const NOBODY = "127.0.0.1:9";

/** A worker of `pages/cores.js`. */
async function worker(page) {
  const began = page.waitForEvent("worker");
  await page.evaluate(() => new Worker("cores.js", { type: "module" }) && undefined);
  const it = await began;
  await until("the worker's script", () => it.evaluate(() => globalThis.isReady === true));
  await it.evaluate(() => begin());
  return it;
}

/** Workers of one page. No server is needed. */
async function workers(t, count) {
  return (await begin(t, count)).made;
}

async function begin(t, count) {
  const site = await Site.start(undefined, NOBODY);
  t.after(() => site.remove());
  const browser = await Browser.start();
  t.after(() => browser.remove());
  t.after(() => assert.deepEqual(browser.complaints, []));
  browser.allow(/WebSocket connection to .* failed|Content Security Policy/);
  const page = await browser.open(site.url);
  const made = [];
  for (let at = 0; at < count; at += 1) made.push(await worker(page));
  return { made, page, origin: new URL(site.url).origin };
}

test("clients of several users are open in one worker, also when they begin at the same moment", TIMEOUT, async (t) => {
  const [worker] = await workers(t, 1);
  const found = await worker.evaluate(async () => {
    const users = ["ann", "bob", "cid", "dan", "eve"];
    const cores = await Promise.all(users.map((user) => openCore(user)));
    cores.push(await openCore("fay"));
    for (const [n, core] of cores.entries()) {
      await core.write([{ sql: "CREATE TABLE mine (n INTEGER)" }]);
      await core.write([{ sql: `INSERT INTO mine VALUES (${n})` }]);
    }
    const all = await Promise.all(cores.map((core) => rows(core, "SELECT n FROM mine")));
    const again = await failure(() => openCore("ann"));
    await cores[0].close();
    const reopened = await openCore("ann");
    return { all, again, reopened: await rows(reopened, "SELECT n FROM mine") };
  });
  assert.deepEqual(found.all, [0, 1, 2, 3, 4, 5].map((n) => [[n]]));
  assert.equal(found.again.code, "leader_changed");
  assert.deepEqual(found.reopened, [[0]]);
});

test("a worker lets the files go while it lives, and another one has them at once", TIMEOUT, async (t) => {
  const [first, second] = await workers(t, 2);
  const begun = await first.evaluate(async () => {
    await letGo();
    globalThis.core = await openCore("ann");
    await core.write([{ sql: "CREATE TABLE mine (n INTEGER)" }]);
    globalThis.other = await openCore("bob");
    const open = await failure(letGo);
    await core.close();
    await other.suspend(1_000);
    const suspended = await failure(letGo);
    return { open, suspended };
  });
  assert.equal(begun.open.code, "invalid_request");
  assert.match(begun.open.message, /close every client of this worker/);
  assert.deepEqual(begun.suspended, begun.open);
  const taken = await second.evaluate(() => failure(() => openCore("ann")));
  assert.equal(taken.code, "leader_changed");
  assert.match(taken.message, /NoModificationAllowedError.*close what else of this site is open/);

  for (const [from, to, n] of [[first, second, 1], [second, first, 2], [first, second, 3]]) {
    await from.evaluate(async () => {
      await Promise.all([globalThis.core?.close(), globalThis.other?.close()]);
      await letGo();
      await letGo();
    });
    const counted = await to.evaluate(async (n) => {
      globalThis.core = await openCore("ann");
      await core.write([{ sql: `INSERT INTO mine VALUES (${n})` }]);
      return await rows(core, "SELECT count(*) FROM mine");
    }, n);
    assert.deepEqual(counted, [[n]]);
  }
  const elsewhere = await second.evaluate(() => failure(() => openCore("bob", { directory: "elsewhere" })));
  assert.equal(elsewhere.code, "invalid_request");
  assert.match(elsewhere.message, /tidewire-cores/);
});

test("the files are let go after whoever is just being opened", TIMEOUT, async (t) => {
  const [worker] = await workers(t, 1);
  const said = await worker.evaluate(async () => {
    const [core, refused, other] = await Promise.all([openCore("ann"), failure(letGo), openCore("bob")]);
    await Promise.all([core.close(), other.close()]);
    // Both at once: one after the other, and the next one has a file system.
    const [, again] = await Promise.all([letGo(), openCore("ann")]);
    await again.write([{ sql: "CREATE TABLE mine (n INTEGER)" }]);
    return { refused, rows: await rows(again, "SELECT count(*) FROM mine") };
  });
  assert.equal(said.refused.code, "invalid_request");
  assert.deepEqual(said.rows, [[0]]);
});

test("what is done while another client is being opened is done", TIMEOUT, async (t) => {
  const [worker] = await workers(t, 1);
  const found = await worker.evaluate(async () => {
    const left = [];
    for (let n = 0; n < 5; n += 1) {
      const core = await openCore(`user ${n}`);
      await core.write([{ sql: "CREATE TABLE mine (n INTEGER)" }]);
      // Each that stays takes files, so each that is opened adds some.
      await Promise.all([openCore(`other ${n}`), core.signOut("wipe", true)]);
      left.push(...(await rows(await openCore(`user ${n}`), "SELECT count(*) FROM sqlite_master WHERE name = 'mine'")));
    }
    const said = [];
    const emit = (events) => said.push(JSON.stringify(events));
    const core = await openCore("ann", { emit });
    let seen = 0;
    for (let n = 0; n < 5; n += 1) {
      await core.suspend(1_000);
      const opened = openCore(`third ${n}`);
      await undefined;
      core.resume();
      await opened;
      while (!(await rows(core, "SELECT 1").then(() => true, () => false))) await new Promise((resolve) => setTimeout(resolve, 5));
      seen += 1;
    }
    return { left, seen, failed: said.filter((it) => it.includes('"error"')) };
  });
  assert.deepEqual(found.left, [[0], [0], [0], [0], [0]]);
  assert.deepEqual(found.failed, []);
  assert.equal(found.seen, 5);
});

test("each of several that are opened at once has a reserve soon", TIMEOUT, async (t) => {
  const [worker] = await workers(t, 1);
  const users = ["ann", "bob", "cid", "dan", "eve"];
  await worker.evaluate((users) => Promise.all(users.map((user) => openCore(user))), users);
  // Chromium says the same for ever when it is asked again and again.
  const usage = () =>
    worker.evaluate(async () => {
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      return (await navigator.storage.estimate()).usage;
    });
  // One that could not be made is tried again once a minute.
  await until("room that is kept for each", async () => (await usage()) >= users.length * 8 * 1024 * 1024, 100_000);
});

test("a browser without such files says so by its code", TIMEOUT, async (t) => {
  for (const without of ["missing", "SecurityError", "UnknownError", "NotSupportedError"]) {
    const [worker] = await workers(t, 1);
    const said = await worker.evaluate((without) => {
      if (without === "missing") StorageManager.prototype.getDirectory = undefined;
      else if (without === "NotSupportedError") {
        FileSystemFileHandle.prototype.createSyncAccessHandle = async () => {
          throw new DOMException("Backend does not support this operation", without);
        };
      } else {
        StorageManager.prototype.getDirectory = async () => {
          throw new DOMException("it is not allowed here", without);
        };
      }
      return failure(() => openCore("ann"));
    }, without);
    assert.equal(said.code, "unsupported", without);
    assert.match(said.message, /private files of the origin cannot be used .* private window/, without);
  }
});

test("a browser that has no room for a replica says so, and the worker opens it when there is some", TIMEOUT, async (t) => {
  const { made, page, origin } = await begin(t, 1);
  const [worker] = made;
  const cdp = await page.context().newCDPSession(page);
  const allow = (bytes) => cdp.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: bytes });
  await allow(1_500_000);
  const said = await worker.evaluate(() => failure(() => openCore("ann")));
  assert.equal(said.code, "quota");
  assert.match(said.message, /free some space on this device, and open it again/);
  await allow(64 * 1024 * 1024);
  const found = await worker.evaluate(async () => rows(await openCore("ann"), "SELECT 1"));
  assert.deepEqual(found, [[1]]);
});

test("however often there is no room for a reserve, the disk is full and the files of the pool stay", TIMEOUT, async (t) => {
  const { made, page, origin } = await begin(t, 1);
  const [worker] = made;
  const cdp = await page.context().newCDPSession(page);
  await cdp.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 12 * 1024 * 1024 });
  const said = await worker.evaluate(async () => {
    const told = [];
    const words = () => told.flatMap((it) => [...it.matchAll(/"word":"(\w+)"/g)].map(([, word]) => word));
    const full = () => words().filter((word) => word === "disk_full").length;
    const core = await openCore("ann", { emit: (events) => void told.push(JSON.stringify(events)) });
    for (let n = 1; n <= 12; n += 1) {
      for (const end = performance.now() + 2_000; full() < n && performance.now() < end; ) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await core.suspend(1_000);
      core.resume();
    }
    return [...new Set(words())].sort();
  });
  assert.deepEqual(said, ["disk_full", "paused"]);
});
