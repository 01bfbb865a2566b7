// Files that are kept in IndexedDB, and sockets that wait for them. In a worker the tests use them; in a page they look
// at what is stored.
import * as tidewire from "../client/wasm/tidewire.js";
import { gateSockets } from "../client/dist/gate.js";
import { IndexedFiles } from "../client/dist/indexed.js";

const HOST = { token: () => Promise.resolve("a token"), emit: () => undefined };

/** Where nobody is. */
const NOWHERE = "ws://127.0.0.1:65001";

let files;
let core;
let isOver = false;

// Each socket sends when the test says that what is to be stored is.
const settling = [];
let socket;

const calls = {
  /** Opens the files alone. */
  async open(database) {
    files = await IndexedFiles.open(database);
  },

  /** Opens a replica on them, and connects if there is a server. */
  async replica(database, server) {
    const began = performance.now();
    await calls.open(database);
    const opened = performance.now();
    await tidewire.default({ module_or_path: new URL("../client/wasm/tidewire_bg.wasm", import.meta.url) });
    const config = { servers: [server ?? NOWHERE], user: "ann", name: "test", directory: "none" };
    core = await tidewire.Core.open(config, HOST, files);
    if (!server) core.pause();
    return { filesMs: opened - began };
  },

  /** Writes, and says that it is done when it is stored. */
  async write(sql, ...params) {
    await core.write([{ sql, params }]);
    await files.flush();
  },

  /** The same without waiting until it is stored. */
  async writeOnly(sql, ...params) {
    await core.write([{ sql, params }]);
  },

  async rows(sql) {
    return (await core.query(sql, [])).rows;
  },

  /** Writes one row after the other, of so many bytes, and deletes some; posts each that is stored. */
  async load(bytes) {
    await calls.write("CREATE TABLE IF NOT EXISTS mine (id INTEGER PRIMARY KEY, body BLOB)");
    let [[id]] = await calls.rows("SELECT coalesce(max(id), 0) FROM mine");
    while (!isOver) {
      id += 1;
      await calls.write(`INSERT INTO mine (id, body) VALUES (${id}, randomblob(${bytes}))`);
      if (id % 10 === 0) await calls.write(`UPDATE mine SET body = randomblob(10) WHERE id = ${id - 5}`);
      postMessage({ stored: id });
    }
  },

  /** The milliseconds of so many small writes, each with its flush; and of the flushes alone. */
  async measure(count) {
    const [both, flushes] = [[], []];
    for (let at = 0; at < count; at += 1) {
      const began = performance.now();
      await core.write([{ sql: "INSERT INTO mine (body) VALUES ($1)", params: ["x".repeat(100)] }]);
      const written = performance.now();
      await files.flush();
      both.push(performance.now() - began);
      flushes.push(performance.now() - written);
    }
    return { both, flushes };
  },

  /** The next transaction finds that the browser has closed the database. */
  lose() {
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = function (...args) {
      IDBDatabase.prototype.transaction = transaction;
      this.close();
      return transaction.apply(this, args);
    };
  },

  /** The browser does not open databases, and says this; without a name it has none. */
  forbid(name) {
    const open = () => {
      throw new DOMException("it is not allowed", name);
    };
    Object.defineProperty(globalThis, "indexedDB", { value: name && { open }, configurable: true });
  },

  flush: () => files.flush(),
  end: () => files.end(),
  isDirty: () => files.isDirty,

  /** Does things with the files themselves: pairs of a function and what it is given. */
  use(steps) {
    return steps.map(([name, ...args]) => files[name](...args));
  },

  /** The bytes of an open file. */
  bytes(file, at, length) {
    const into = new Uint8Array(length).fill(7);
    const count = files.read(file, into, at);
    return Array.from(into.subarray(0, count));
  },

  /** Flushes several times at once; says how many transactions that has taken. */
  async flushes(count, step) {
    let began = 0;
    const { transaction } = IDBDatabase.prototype;
    IDBDatabase.prototype.transaction = function (...args) {
      began += 1;
      return transaction.apply(this, args);
    };
    const all = [];
    for (let at = 0; at < count; at += 1) {
      files[step[0]](...step.slice(1));
      all.push(files.flush());
    }
    await Promise.all(all);
    IDBDatabase.prototype.transaction = transaction;
    return began;
  },

  /** Whatever is sent waits for the files. */
  gateByFiles: () => gateSockets(() => files.flush()),

  /** Connects, and waits with each thing that is sent until the test lets it go. */
  async connect(url) {
    gateSockets(() => new Promise((resolve, reject) => settling.push({ resolve, reject })));
    socket = new WebSocket(url);
    socket.onclose = ({ code }) => postMessage({ closed: code });
    await new Promise((resolve) => (socket.onopen = resolve));
  },

  /** Sends these bytes; their memory is something else at once. */
  send(...bytes) {
    const memory = new Uint8Array([0, ...bytes, 0]);
    socket.send(memory.subarray(1, 1 + bytes.length));
    memory.fill(99);
    return socket.bufferedAmount;
  },

  sendText: (text) => socket.send(text),
  settle: (at) => settling[at].resolve(),
  refuse: (at) => settling[at].reject(new Error("it could not be stored")),
  closeSocket: () => socket.close(),
};

/** What is stored, whoever has it open: the files as they are, which blocks there are, and the bytes of these. */
export async function kept(database) {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const opened = await done(indexedDB.open(database));
  const transaction = opened.transaction(["files", "blocks"]);
  const all = ["files", "blocks"].flatMap((name) => {
    const store = transaction.objectStore(name);
    return [done(store.getAllKeys()), done(store.getAll())];
  });
  const [ids, described, keys, blocks] = await Promise.all(all);
  opened.close();
  const files = described.map(({ name, size }, at) => {
    const content = new Uint8Array(size);
    for (const [place, [id, number]] of keys.entries()) {
      if (id !== ids[at]) continue;
      const block = blocks[place];
      content.set(block.subarray(0, Math.max(0, size - number * block.length)), number * block.length);
    }
    let text = "";
    for (let from = 0; from < size; from += 8192) text += String.fromCharCode(...content.subarray(from, from + 8192));
    return { name, base64: btoa(text) };
  });
  return { files, blocks: keys, bytes: blocks.reduce((sum, { length }) => sum + length, 0) };
}

const isWorker = typeof document === "undefined";
if (isWorker) addEventListener("message", async ({ data: { id, op, args } }) => {
  try {
    postMessage({ id, value: await calls[op](...args) });
  } catch (error) {
    postMessage({ id, error: { code: error.code, message: error.message ?? String(error) } });
  }
});
