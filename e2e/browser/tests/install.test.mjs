// The package as applications have it: packed, installed in empty projects, with the examples of its README.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { build, createServer, preview } from "vite";

import { Browser, until } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";
import { TIMEOUT } from "./support/world.mjs";

const PACKAGE = fileURLToPath(new URL("../../../packages/client", import.meta.url));
const MESSAGES = `CREATE SHARED TABLE chat.messages (id BIGINT PRIMARY KEY, room BIGINT, author TEXT, body TEXT, INDEX (room))
  WITH (ACCESS_LEVEL = WRITE)`;

const run = promisify(execFile);

let folder;
let server;
let tarball;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidewire-install-"));
  const { stdout } = await run("npm", ["pack", "--json", "--silent", "--pack-destination", folder], { cwd: PACKAGE });
  tarball = join(folder, JSON.parse(stdout)[0].filename);
  server = await Server.start();
  await server.sql("CREATE NAMESPACE chat");
  await server.sql(MESSAGES);
  await server.sql("INSERT INTO chat.messages VALUES (1, 7, 'bob', 'hello')");
}, TIMEOUT);

after(async () => {
  await server?.remove();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

/** An empty project with the package. */
async function project(name) {
  const root = join(folder, name);
  await mkdir(root);
  await writeFile(join(root, "package.json"), JSON.stringify({ name, private: true, type: "module" }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], { cwd: root });
  return root;
}

/** An example of the README that has this in it, for this server. */
async function example(mark) {
  const readme = await readFile(join(PACKAGE, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  const [code] = blocks.filter((code) => code.includes(mark));
  assert.ok(code, `no example has ${mark}`);
  assert.ok(code.trim().split("\n").length <= 15, "it is short");
  return code.replace(/(https|wss):\/\/sync\.example\.com/, `ws://${server.address}`);
}

test("the example runs in an empty project of Node", TIMEOUT, async () => {
  const root = await project("node");
  await writeFile(join(root, "main.js"), await example("directory:"));
  const TOKEN = await server.token("robot");
  const { stdout } = await run(process.execPath, ["main.js"], { cwd: root, env: { ...process.env, TOKEN } });
  assert.match(stdout, /messages: 1/);
  // On a server that renders pages it is imported, and nothing else.
  const imported = await run(process.execPath, ["-e", "import('@tidewire/client').then((it) => console.log(typeof it.createClient))"], { cwd: root });
  assert.equal(imported.stdout.trim(), "function");
  // The program that comes with it, by its name.
  const types = await run("npx", ["tidewire-types", "--url", `ws://${server.address}`], { cwd: root, env: { ...process.env, TIDEWIRE_TOKEN: TOKEN } });
  assert.equal(types.stdout, "tidewire-types: tidewire-types.ts is written\n");
});

test("the example runs in an empty project of Vite, built and while it is written", TIMEOUT, async (t) => {
  const root = await project("web");
  await writeFile(join(root, "main.ts"), await example("for await"));
  await writeFile(join(root, "index.html"), '<!doctype html><title>x</title><script type="module" src="./main.ts"></script>');
  const browser = await Browser.start();
  t.after(() => browser.remove());
  browser.allow(/favicon|the server responded with a status of 404/);
  const token = {
    name: "token",
    configureServer: (it) => void it.middlewares.use("/token", answer),
    configurePreviewServer: (it) => void it.middlewares.use("/token", answer),
  };
  const here = { host: "127.0.0.1", port: 0 };
  // Nothing is said of the package: this is where the page is, and who gives tokens.
  const config = { root, configFile: false, logLevel: "warn", base: "./", plugins: [token], server: here, preview: here };
  await build(config);
  for (const start of [() => preview(config), async () => (await createServer(config)).listen()]) {
    const running = await start();
    try {
      const { port } = running.httpServer.address();
      const said = [];
      const page = await browser.page((message) => said.push(message.text()));
      await page.goto(`http://127.0.0.1:${port}/`);
      await until("the row", () => said.some((text) => text.startsWith("live")), 60_000);
      await page.close();
    } finally {
      await running.close();
    }
  }
  assert.deepEqual(browser.complaints, []);
});

async function answer(_, response) {
  response.end(await server.token("alice"));
}
