// Replicas that are kept in IndexedDB: what was said to be stored is, and is whole, whatever ends.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { Browser, reload, until } from "./support/browser.mjs";
import * as seeds from "./support/seeds.mjs";
import { Site } from "./support/site.mjs";
import { TIMEOUT } from "./support/world.mjs";

const run = promisify(execFile);

test("what is stored is there after the browser was killed", TIMEOUT, async (t) => {
  const { browser, begin } = await surroundings(t);
  let page = await begin();
  await ask(page, "replica", "one");
  await ask(page, "write", "CREATE TABLE mine (id INTEGER PRIMARY KEY, body TEXT)");
  for (const id of [1, 2, 3]) {
    await ask(page, "write", `INSERT INTO mine VALUES (${id}, 'row ${id}')`);
    await browser.kill();
    await browser.start();
    page = await begin();
    assert.deepEqual(await check(page, "one", "SELECT count(*), max(body) FROM mine"), `${id}|row ${id}`);
    await ask(page, "replica", "one");
    assert.deepEqual(await ask(page, "rows", "SELECT count(*) FROM mine"), [[id]]);
  }
});

test("no kill in the middle of many writes loses one that was stored, or damages the replica", async (t) => {
  await seeds.forEach("browser-fallback-kills", 2, (seed) => t.test(`seed ${seed}`, TIMEOUT, (t) => kill(t, seed)));
});

async function kill(t, seed) {
  const chance = seeds.random(seed);
  const { browser, begin } = await surroundings(t);
  let page = await begin();
  let stored = 0;
  for (let count = 0; count < 5; count += 1) {
    await ask(page, "replica", "one");
    await page.evaluate((bytes) => void ask("load", bytes), Math.floor(20 + 12_000 * chance()));
    const first = stored;
    await until("some are stored", async () => (await page.evaluate(() => globalThis.lastStored)) > first);
    await new Promise((resolve) => setTimeout(resolve, 1_500 * chance()));
    stored = await page.evaluate(() => globalThis.lastStored);
    if (chance() < 0.5) {
      await browser.kill();
      await browser.start();
    } else {
      await page.close();
    }
    page = await begin();
    const [rows, last] = (await check(page, "one", "SELECT count(*), max(id) FROM mine")).split("|").map(Number);
    assert.ok(last >= stored, `${stored} were stored, and ${last} are there`);
    assert.equal(rows, last, "each number once");
    stored = last;
  }
}

test("files are what they were when they are opened again", TIMEOUT, async (t) => {
  const { begin } = await surroundings(t);
  const page = await begin();
  await ask(page, "open", "one");
  const far = 100_000;
  await use(page, ["open", "a", true], ["open", "b", true], ["open", "gone", true]);
  const write = (...given) =>
    page.evaluate(([file, at, ...them]) => ask("use", [["write", file, new Uint8Array(them), at]]), given);
  await write(1, 16_382, 1, 2, 3, 4);
  await write(1, far, 5);
  await write(2, 0, 9, 9, 9, 9);
  await write(3, 0, 1);
  await ask(page, "flush");
  await use(page, ["truncate", 2, 1], ["truncate", 2, 3], ["truncate", 1, far], ["remove", "gone"], ["copy", "a", "c"]);
  assert.equal(await ask(page, "isDirty"), true);
  await ask(page, "flush");
  assert.equal(await ask(page, "isDirty"), false);
  // Cut short, and longer again before it was stored: what was there does not come back.
  await use(page, ["truncate", 1, 16_383], ["truncate", 1, far]);
  await ask(page, "end");
  await reload(page);
  await prepare(page);
  await ask(page, "open", "one");
  const opened = await use(page, ...["a", "b", "c", "gone"].map((name) => ["open", name, false]));
  assert.deepEqual(opened, [1, 2, 3, undefined]);
  assert.deepEqual(await ask(page, "bytes", 1, 16_381, 5), [0, 1, 0, 0, 0]);
  assert.deepEqual(await ask(page, "bytes", 2, 0, 9), [9, 0, 0]);
  assert.deepEqual(await ask(page, "bytes", 3, 16_381, 5), [0, 1, 2, 3, 4]);
  assert.deepEqual(await use(page, ["size", 1], ["size", 2], ["size", 3], ["exists", "gone"]), [far, 3, far, false]);
  // Nothing is left of what was cut off or removed: only the blocks that have something.
  assert.deepEqual((await page.evaluate(() => kept("one"))).blocks.map(String), ["1,0", "2,0", "4,0", "4,1", "4,6"]);
});

test("many who flush at once share a transaction", TIMEOUT, async (t) => {
  const { begin } = await surroundings(t);
  const page = await begin();
  await ask(page, "open", "one");
  await use(page, ["open", "a", true]);
  const began = await page.evaluate(() => ask("flushes", 50, ["write", 1, new Uint8Array([1]), 0]));
  assert.equal(began, 2);
});

test("of two who have it open the last one can store, and nothing of the other one appears", TIMEOUT, async (t) => {
  const { begin } = await surroundings(t);
  const [first, second] = [await begin(), await begin()];
  await ask(first, "replica", "one");
  await ask(first, "write", "CREATE TABLE mine (body TEXT)");
  await ask(second, "replica", "one");
  await ask(first, "writeOnly", "INSERT INTO mine VALUES ('of the first')");
  await ask(second, "write", "INSERT INTO mine VALUES ('of the second')");
  for (let count = 0; count < 2; count += 1) {
    assert.equal((await failure(first, "flush")).code, "leader_changed");
  }
  assert.match((await failure(first, "write", "INSERT INTO mine VALUES ('more')")).message, /disk I\/O/);
  assert.equal(await check(second, "one", "SELECT group_concat(body) FROM mine"), "of the second");
  // It may also be removed, by somebody who does not wait.
  await first.evaluate(() => new Promise((resolve) => (indexedDB.deleteDatabase("one").onsuccess = resolve)));
  assert.equal((await failure(second, "flush")).code, "leader_changed");
});

test("what finds no room is kept, and stored when there is room again", TIMEOUT, async (t) => {
  const { begin } = await surroundings(t);
  const page = await begin();
  const limit = await quota(page);
  // From the beginning: for a while the browser remembers how much room there was.
  await limit(3_000_000);
  await ask(page, "replica", "one");
  await ask(page, "write", "CREATE TABLE mine (id INTEGER PRIMARY KEY, body BLOB)");
  const { stored, code } = await page.evaluate(async () => {
    for (let stored = 0; ; stored += 1) {
      await ask("writeOnly", "INSERT INTO mine (body) VALUES (randomblob(300000))");
      const code = await ask("flush").then(() => undefined, (error) => error.code);
      if (code) return { stored, code };
    }
  });
  assert.equal(code, "quota");
  assert.ok(stored > 0);
  // SQLite is told so, and what is there can be read.
  assert.equal((await failure(page, "write", "INSERT INTO mine VALUES (100, NULL)")).code, "quota");
  assert.deepEqual(await ask(page, "rows", "SELECT count(*) FROM mine"), [[stored + 1]]);
  assert.equal(await check(page, "one", "SELECT count(*) FROM mine"), `${stored}`);

  await limit(undefined);
  // By itself: nobody flushes.
  await until("it is stored", async () => !(await ask(page, "isDirty")));
  assert.equal(await check(page, "one", "SELECT count(*) FROM mine"), `${stored + 1}`);
  await ask(page, "write", "INSERT INTO mine VALUES (100, NULL)");
  assert.equal(await check(page, "one", "SELECT count(*), max(id) FROM mine"), `${stored + 2}|100`);
});

test("a browser that loses its connection to the database is asked for another one", TIMEOUT, async (t) => {
  const { begin } = await surroundings(t);
  const page = await begin();
  await ask(page, "replica", "one");
  await ask(page, "write", "CREATE TABLE mine (body TEXT)");
  await ask(page, "lose");
  assert.equal((await failure(page, "write", "INSERT INTO mine VALUES ('a')")).code, "internal");
  await until("it is stored", async () => !(await ask(page, "isDirty")));
  assert.equal(await check(page, "one", "SELECT count(*) FROM mine"), "1");

  // Not when that has nothing of it any more.
  const session = await page.context().newCDPSession(page);
  const { origin } = new URL(page.url());
  await session.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb" });
  await ask(page, "writeOnly", "INSERT INTO mine VALUES ('b')");
  assert.equal((await failure(page, "flush")).code, "leader_changed");
});

test("what finds no room can be removed", TIMEOUT, async (t) => {
  const { begin } = await surroundings(t);
  const page = await begin();
  const limit = await quota(page);
  await limit(3_000_000);
  await ask(page, "open", "one");
  await use(page, ["open", "a", true], ["open", "b", true]);
  const code = await page.evaluate(async () => {
    for (let at = 0; ; at += 300_000) {
      const random = crypto.getRandomValues(new Uint8Array(60_000));
      for (let part = 0; part < 5; part += 1) await ask("use", [["write", 1, random, at + part * random.length]]);
      const code = await ask("flush").then(() => undefined, (error) => error.code);
      if (code) return code;
    }
  });
  assert.equal(code, "quota");
  assert.equal((await failure(page, "use", [["truncate", 2, 10]])).code, "ENOSPC");
  // When the browser has room again is its own affair.
  await use(page, ["remove", "a"]);
  await ask(page, "flush");
  const { files } = await page.evaluate(() => kept("one"));
  assert.deepEqual(files.map(({ name }) => name), ["b"]);
});

test("where it cannot be stored it is said why", TIMEOUT, async (t) => {
  const { begin } = await surroundings(t);
  const page = await begin();
  await page.evaluate(() => new Promise((resolve) => (indexedDB.open("one", 2).onsuccess = resolve)));
  assert.equal((await failure(page, "open", "one")).code, "unsupported");
  for (const name of ["SecurityError", "InvalidStateError"]) {
    await ask(page, "forbid", name);
    assert.equal((await failure(page, "open", "two")).code, "unsupported");
  }
  await ask(page, "forbid", "UnknownError");
  assert.equal((await failure(page, "open", "two")).code, "internal");
  await ask(page, "forbid", undefined);
  assert.equal((await failure(page, "open", "two")).code, "unsupported");
});

test("a socket sends in order what is stored, and nothing else", TIMEOUT, async (t) => {
  const receiver = await Receiver.start(t);
  const { begin } = await surroundings(t, receiver.address);
  const page = await begin();
  await ask(page, "connect", `ws://${receiver.address}`);
  assert.equal(await ask(page, "send", 1, 2, 3), 3);
  assert.equal(await ask(page, "send", 4), 4);
  await ask(page, "sendText", "text");
  await ask(page, "settle", 1);
  await ask(page, "settle", 2);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.deepEqual(receiver.frames, []);
  await ask(page, "settle", 0);
  await until("all of it", () => receiver.frames.length === 3);
  assert.deepEqual(receiver.frames, ["010203", "04", Buffer.from("text").toString("hex")]);

  await ask(page, "send", 5);
  await ask(page, "send", 6);
  await ask(page, "refuse", 3);
  await ask(page, "settle", 4);
  await until("it is closed", () => receiver.closed.length === 1);
  assert.deepEqual(receiver.closed, [4000]);
  assert.equal(receiver.frames.length, 3);

  await ask(page, "connect", `ws://${receiver.address}`);
  await ask(page, "send", 7);
  await ask(page, "closeSocket");
  await ask(page, "settle", 5);
  await until("it is closed", () => receiver.closed.length === 2);
  assert.equal(receiver.frames.length, 3);
});

test("the core greets a server when what it has written is stored", TIMEOUT, async (t) => {
  const receiver = await Receiver.start(t);
  const { begin } = await surroundings(t, receiver.address);
  const page = await begin();
  await ask(page, "gateByFiles");
  await ask(page, "replica", "one", `ws://${receiver.address}`);
  await until("its first frame", () => receiver.frames.length > 0);
  assert.equal(await check(page, "one", "SELECT count(*) > 0 FROM sqlite_schema"), "1");

  // One that is not its own any more: it is over, and nothing more is said.
  await page.evaluate(() => new Promise((resolve) => (indexedDB.deleteDatabase("one").onsuccess = resolve)));
  const count = receiver.frames.length;
  await until("it has hung up", () => receiver.hangUp() > 0);
  await until("it has dialed again, and was closed", () => receiver.closed.includes(4000));
  assert.equal(receiver.frames.length, count);
});

test("numbers: small writes, and opening a large replica", TIMEOUT, async (t) => {
  const { begin } = await surroundings(t);
  const page = await begin();
  await ask(page, "replica", "one");
  await ask(page, "write", "CREATE TABLE mine (id INTEGER PRIMARY KEY, body TEXT)");
  await ask(page, "measure", 50);
  const { both, flushes } = await ask(page, "measure", 300);
  for (let count = 0; count < 20; count += 1) {
    const series = "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)";
    await ask(page, "write", `${series} INSERT INTO mine (body) SELECT hex(randomblob(500)) FROM n`);
  }
  const large = await ask(page, "measure", 300);
  const { bytes } = await page.evaluate(() => kept("one"));
  await reload(page);
  await prepare(page);
  const { filesMs } = await ask(page, "replica", "one");
  const middle = (them) => them.toSorted((a, b) => a - b)[Math.floor(them.length / 2)].toFixed(2);
  t.diagnostic(`a write and its flush: ${middle(both)} ms, the flush alone ${middle(flushes)} ms`);
  t.diagnostic(`on a large replica: ${middle(large.both)} ms, the flush alone ${middle(large.flushes)} ms`);
  assert.ok(middle(large.both) < 50 && filesMs < 5_000, "it has become slow");
  t.diagnostic(`opening ${(bytes / 1e6).toFixed(1)} MB of files: ${filesMs.toFixed(0)} ms`);
});

/** A browser without a server, and pages in which a worker can be asked. They may talk to `reachable`. */
async function surroundings(t, reachable = "127.0.0.1:65001") {
  const site = await Site.start({ token: () => "none" }, reachable);
  t.after(() => site.remove());
  const browser = await Browser.start();
  t.after(() => browser.remove());
  t.after(() => assert.deepEqual(browser.complaints, []));
  browser.allow(/WebSocket connection to .* failed/);
  const begin = async () => {
    const page = await browser.open(site.url);
    await prepare(page);
    return page;
  };
  return { browser, begin };
}

async function prepare(page) {
  await page.evaluate(async () => {
    const { kept } = await import("./files.js");
    const worker = new Worker("files.js", { type: "module" });
    const waiting = new Map();
    let last = 0;
    Object.assign(globalThis, { kept, lastStored: 0 });
    worker.onmessage = ({ data }) => {
      if (data.stored) globalThis.lastStored = data.stored;
      const { resolve, reject } = waiting.get(data.id) ?? {};
      if (data.error) reject?.(Object.assign(new Error(data.error.message), data.error));
      else resolve?.(data.value);
    };
    globalThis.ask = (op, ...args) =>
      new Promise((resolve, reject) => {
        last += 1;
        waiting.set(last, { resolve, reject });
        worker.postMessage({ id: last, op, args });
      });
  });
}

/** Has the worker do something. */
function ask(page, op, ...args) {
  return page.evaluate(([op, args]) => ask(op, ...args), [op, args]);
}

/** Has it call functions of the files. */
function use(page, ...steps) {
  return ask(page, "use", steps);
}

/** Why it does not do it. */
async function failure(page, op, ...args) {
  const call = async ([op, args]) => {
    try {
      await ask(op, ...args);
    } catch ({ code, message }) {
      return { code, message };
    }
    return undefined;
  };
  const failed = await page.evaluate(call, [op, args]);
  assert.ok(failed, `${op} has not failed`);
  return failed;
}

/** What another SQLite says of what is stored: that it is whole, and the rows. */
async function check(page, database, sql) {
  const { files } = await page.evaluate((database) => kept(database), database);
  const directory = await mkdtemp(join(tmpdir(), "tidewire-browser-files-"));
  try {
    for (const { name, base64 } of files) await writeFile(join(directory, name), base64, "base64");
    const { name } = files.find(({ name }) => name.endsWith(".sqlite"));
    const { stdout } = await run("sqlite3", [join(directory, name), "PRAGMA integrity_check", sql]);
    const [whole, ...rows] = stdout.trim().split("\n");
    assert.equal(whole, "ok");
    return rows.join("\n");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Sets how much the site may store, in bytes. */
async function quota(page) {
  const session = await page.context().newCDPSession(page);
  const origin = new URL(page.url()).origin;
  return (quotaSize) => session.send("Storage.overrideQuotaForOrigin", quotaSize ? { origin, quotaSize } : { origin });
}

/** Takes whatever is sent to it over a WebSocket. */
class Receiver {
  frames = [];
  /** The codes with which sockets were closed. */
  closed = [];
  #server = createServer();
  #streams = new Set();

  static async start(t) {
    const receiver = new Receiver();
    const server = receiver.#server;
    server.on("upgrade", (request, stream) => receiver.#accept(request, stream));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => {
      server.close();
      receiver.hangUp();
    });
    return receiver;
  }

  get address() {
    return `127.0.0.1:${this.#server.address().port}`;
  }

  /** Ends all connections without a word; says how many there were. */
  hangUp() {
    const count = this.#streams.size;
    for (const stream of this.#streams) stream.destroy();
    return count;
  }

  #accept(request, stream) {
    this.#streams.add(stream);
    stream.on("close", () => this.#streams.delete(stream));
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    stream.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    let rest = Buffer.alloc(0);
    stream.on("error", () => undefined);
    stream.on("data", (bytes) => {
      rest = Buffer.concat([rest, bytes]);
      // Masked, and none of 64 KiB: the kind, the length, four bytes of the mask, the content.
      for (;;) {
        const isLong = (rest[1] & 127) === 126;
        if (rest.length < (isLong ? 4 : 2)) break;
        const [length, head] = isLong ? [rest.readUInt16BE(2), 8] : [rest[1] & 127, 6];
        if (rest.length < head + length) break;
        const mask = rest.subarray(head - 4, head);
        const content = rest.subarray(head, head + length).map((byte, at) => byte ^ mask[at % 4]);
        const isClose = (rest[0] & 15) === 8;
        rest = rest.subarray(head + length);
        if (!isClose) this.frames.push(Buffer.from(content).toString("hex"));
        else this.#close(stream, Buffer.from(content));
      }
    });
  }

  #close(stream, content) {
    this.closed.push(content.length >= 2 ? content.readUInt16BE(0) : undefined);
    stream.end(Buffer.concat([Buffer.from([0x88, content.length]), content]));
  }
}
