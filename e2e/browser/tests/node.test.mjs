// The same package in Node: the conformance scripts, and what is another thing there.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { promisify } from "node:util";

import { createClient } from "../../../packages/client/dist/node/index.js";
import { take } from "../../../packages/client/dist/node/lock.js";
import { Device } from "../pages/device.js";
import { replay, userOf } from "./support/scripts.mjs";
import { Server } from "./support/server.mjs";
import { NOTES, TIMEOUT } from "./support/world.mjs";

const run = promisify(execFile);

/** What goes with a test, the last one first. */
const made = new WeakMap();

function after(t, end) {
  if (!made.has(t)) {
    made.set(t, []);
    t.after(async () => {
      for (const end of made.get(t).reverse()) await end();
    });
  }
  made.get(t).push(end);
}

async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), "tidewire-node-"));
  after(t, () => rm(path, { recursive: true, force: true, maxRetries: 10 }));
  return path;
}

async function serve(t, tables) {
  const server = await Server.start(tables);
  after(t, () => server.remove());
  return server;
}

/** A client that goes with the test. */
function open(t, server, user, directory) {
  const url = `ws://${server.address}`;
  const client = createClient({ url, name: "test", user, directory, token: () => server.token(user) });
  after(t, () => client.close());
  return client;
}

/** Waits until the status has this word. */
async function status(client, word) {
  await new Promise((resolve) => {
    const look = () => client.status.word === word && resolve();
    client.onStatus(look);
    look();
  });
}

replay(async (t, tables) => {
  const [server, devices] = [await serve(t, tables), await folder(t)];
  const device = (name) => new Device(() => open(t, server, userOf(name), join(devices, name)));
  return { server, device };
});

test("what is written offline lasts in a directory, and other programs read it", TIMEOUT, async (t) => {
  const [server, directory] = [await serve(t, [NOTES]), await folder(t)];
  const first = open(t, server, "ann", directory);
  assert.equal(first.status.storage.kind, "none");
  await first.subscribe("SELECT * FROM app.notes").ready();
  assert.equal(first.status.storage.kind, "file");
  first.pause();
  await first.insert("app.notes", { id: 1, room: 7, body: "typed" });
  await first.close();
  assert.equal(await read(directory, "SELECT body FROM app__notes"), "typed");
  const second = open(t, server, "ann", directory);
  assert.deepEqual(await second.query("SELECT body FROM app.notes"), [{ body: "typed" }]);
  await second.waitForSync();
  assert.deepEqual(await server.rows("SELECT body FROM app.notes"), [["typed"]]);
});

/** What another program reads. */
async function read(directory, sql) {
  const [file] = (await readdir(directory)).filter((name) => name.endsWith(".sqlite"));
  const { stdout } = await run("sqlite3", [join(directory, file), sql]);
  return stdout.trim();
}

test("a server that is not there, or goes, is no end of a client", TIMEOUT, async (t) => {
  const [server, directory] = [await serve(t, [NOTES]), await folder(t)];
  await server.stop();
  const client = open(t, server, "ann", directory);
  const words = [];
  client.onStatus(({ word }) => words.push(word));
  await status(client, "offline");
  client.pause();
  client.resume();
  client.pause();
  await client.execute("CREATE TABLE mine (id INTEGER)");
  client.resume();
  await server.start();
  await client.subscribe("SELECT * FROM app.notes").ready();
  await status(client, "connected");
  await server.kill();
  await status(client, "offline");
  await client.insert("app.notes", { id: 1, room: 7 });
  await server.start();
  await client.waitForSync();
  assert.deepEqual((await server.rows("SELECT id FROM app.notes")).map(([id]) => Number(id)), [1]);
  assert.ok(!words.includes("error"), `${words}`);
});

test("what another program takes away of an open replica is noticed", TIMEOUT, async (t) => {
  const [server, directory] = [await serve(t, [NOTES]), await folder(t)];
  const client = open(t, server, "ann", directory);
  await client.execute("CREATE TABLE mine (id INTEGER)");
  await read(directory, "SELECT count(*) FROM sqlite_schema");
  await assert.rejects(client.execute("INSERT INTO mine VALUES (1)"), (error) => error.code !== undefined);
  await client.close();
  const next = open(t, server, "ann", directory);
  assert.deepEqual(await next.query("SELECT id FROM mine"), []);
  await next.execute("INSERT INTO mine VALUES (2)");
});

test("a directory has one owner, where its lock is a file, too", TIMEOUT, async (t) => {
  const directory = await folder(t);
  const takes = () => Promise.all([1, 2, 3].map(() => take(directory, 500, "other")));
  assert.deepEqual((await takes()).filter(Boolean).length, 1);
  await assert.rejects(async () => createClient({ url: "ws://x", user: "ann", token: () => "", directory: "" }), {
    code: "invalid_request",
  });
});

test("one client has a directory at a time, and the next one has it when that is closed", TIMEOUT, async (t) => {
  const [server, directory] = [await serve(t, [NOTES]), await folder(t)];
  const first = open(t, server, "ann", directory);
  await first.opened;
  const second = open(t, server, "bob", directory);
  await assert.rejects(second.opened, { code: "unsupported", message: /another directory/ });
  await first.close();
  const third = open(t, server, "bob", directory);
  await third.opened;
});

test("a client in memory does the same, and leaves nothing", TIMEOUT, async (t) => {
  const server = await serve(t, [NOTES]);
  const client = open(t, server, "ann", undefined);
  await client.subscribe("SELECT * FROM app.notes").ready();
  assert.equal(client.status.storage.kind, "memory");
  const body = "x".repeat(10_000);
  for (const from of [0, 80, 160]) {
    const note = (_, at) => ({ insert: "app.notes", values: { id: from + at, room: 7, body } });
    await client.batch(Array.from({ length: 80 }, note));
  }
  await client.waitForSync();
  const [[count]] = await server.rows("SELECT count(*) FROM app.notes");
  assert.equal(Number(count), 240);
  await client.execute("DELETE FROM app.notes");
  assert.deepEqual(await client.query("SELECT count(*) AS n FROM app.notes"), [{ n: 0 }]);
});

test("a process that is killed leaves every write that it was told of, once", TIMEOUT, async (t) => {
  const [server, directory] = [await serve(t, [NOTES]), await folder(t)];
  const program = new URL("./support/types.mjs", import.meta.url).pathname;
  let told = 0;
  for (let count = 0; count < 4; count += 1) {
    const token = await server.token("ann");
    const child = spawn(process.execPath, [program, `ws://${server.address}`, token, directory], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const closed = new Promise((resolve) => child.once("close", resolve));
    after(t, () => child.kill("SIGKILL"));
    const lines = createInterface({ input: child.stdout });
    const typed = new Promise((resolve) => {
      lines.on("line", (line) => {
        told = Number(line);
        if (told >= 25 * (count + 1)) resolve();
      });
    });
    await Promise.race([typed, closed]);
    assert.equal(child.exitCode, null, "it has ended by itself");
    child.kill("SIGKILL");
    await closed;
  }
  const client = open(t, server, "ann", directory);
  const ids = (await client.query("SELECT id FROM app.notes ORDER BY id")).map(({ id }) => id);
  assert.ok(ids.length >= told, `${told} were told, and ${ids.length} are there`);
  assert.deepEqual(ids, ids.map((_, at) => at + 1));
  await client.waitForSync();
  assert.equal((await client.pending()).count, 0);
  const there = (await server.rows("SELECT id FROM app.notes ORDER BY id")).map(([id]) => Number(id));
  assert.deepEqual(there, ids);
});
