// The packages as applications have them: packed, installed in empty projects, with the examples of their READMEs.
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

const CLIENT = fileURLToPath(new URL("../../../packages/client", import.meta.url));
const REACT = fileURLToPath(new URL("../../../packages/react", import.meta.url));
const MESSAGES = `CREATE SHARED TABLE chat.messages (
    id UUID PRIMARY KEY DEFAULT UUID_V7(), room BIGINT, author TEXT, body TEXT, INDEX (room)
  ) WITH (ACCESS_LEVEL = WRITE)`;

const run = promisify(execFile);

let folder;
let server;
/** What applications install, by the folder that it is of. */
const tarballs = new Map();

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidewire-install-"));
  for (const cwd of [CLIENT, REACT]) {
    const { stdout } = await run("npm", ["pack", "--json", "--silent", "--pack-destination", folder], { cwd });
    tarballs.set(cwd, join(folder, JSON.parse(stdout)[0].filename));
  }
  server = await Server.start();
  await server.sql("CREATE NAMESPACE chat");
  await server.sql(MESSAGES);
  await server.sql("INSERT INTO chat.messages (room, author, body) VALUES (7, 'bob', 'hello')");
}, TIMEOUT);

after(async () => {
  await server?.remove();
  await rm(folder, { recursive: true, force: true, maxRetries: 10 });
});

/** An empty project with these packages. */
async function project(name, ...packages) {
  const root = join(folder, name);
  await mkdir(root);
  await writeFile(join(root, "package.json"), JSON.stringify({ name, private: true, type: "module" }));
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", ...packages], { cwd: root });
  return root;
}

/** An example of a README that has this in it, for this server. */
async function example(of, mark) {
  const readme = await readFile(join(of, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/```tsx?\n(.*?)```/gs)].map(([, code]) => code);
  const [code] = blocks.filter((code) => code.includes(mark));
  assert.ok(code, `no example has ${mark}`);
  assert.ok(code.trim().split("\n").length <= 15, "it is short");
  return code.replace(/(https|wss):\/\/sync\.example\.com/, `ws://${server.address}`);
}

test("the example runs in an empty project of Node", TIMEOUT, async () => {
  const root = await project("node", tarballs.get(CLIENT));
  await writeFile(join(root, "main.js"), await example(CLIENT, "directory:"));
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

/** Opens an empty project of Vite, built and while it is written. `look` says what its page is to show. */
async function inVite(t, root, look) {
  const browser = await Browser.start();
  t.after(() => browser.remove());
  browser.allow(/favicon|the server responded with a status of 404/);
  const token = {
    name: "token",
    configureServer: (it) => void it.middlewares.use("/token", answer),
    configurePreviewServer: (it) => void it.middlewares.use("/token", answer),
  };
  const here = { host: "127.0.0.1", port: 0 };
  // Nothing is said of the packages: this is where the page is, and who gives tokens.
  const config = { root, configFile: false, logLevel: "warn", base: "./", plugins: [token], server: here, preview: here };
  await build(config);
  for (const start of [() => preview(config), async () => (await createServer(config)).listen()]) {
    const running = await start();
    try {
      const { port } = running.httpServer.address();
      const said = [];
      const page = await browser.page((message) => said.push(message.text()));
      await page.goto(`http://127.0.0.1:${port}/`);
      await look(page, said);
      await page.close();
    } finally {
      await running.close();
    }
  }
  assert.deepEqual(browser.complaints, []);
}

test("the example runs in an empty project of Vite, built and while it is written", TIMEOUT, async (t) => {
  const root = await project("web", tarballs.get(CLIENT));
  await writeFile(join(root, "main.ts"), await example(CLIENT, "for await"));
  await writeFile(join(root, "index.html"), '<!doctype html><title>x</title><script type="module" src="./main.ts"></script>');
  await inVite(t, root, (_, said) => until("the row", () => said.some((text) => text.startsWith("live")), 60_000));
});

for (const version of ["18.3.1", "19.3.1"]) {
  test(`the example runs with React ${version} in an empty project of Vite`, TIMEOUT, async (t) => {
    const root = await project(`react-${version}`, ...tarballs.values(), `react@${version}`, `react-dom@${version}`);
    await writeFile(join(root, "main.tsx"), await example(REACT, "createRoot"));
    const html = '<!doctype html><title>x</title><div id="root"></div><script type="module" src="./main.tsx"></script>';
    await writeFile(join(root, "index.html"), html);
    const rows = async () => (await server.rows("SELECT body FROM chat.messages")).length;
    await inVite(t, root, async (page) => {
      const shown = () => page.locator("li").count();
      await until("what the server has", async () => (await shown()) === (await rows()), 60_000);
      // What others write is shown as it comes, and what is written here comes to them.
      await server.sql("INSERT INTO chat.messages (body) VALUES ('news')");
      await page.getByText("news").last().waitFor();
      const before = await rows();
      await page.locator("li").first().click();
      await until("what was written", async () => (await rows()) === before + 1 && (await shown()) === before + 1, 60_000);
    });
  });
}

async function answer(_, response) {
  response.end(await server.token("alice"));
}
