// `tidewire-types` against the real server, and the compiler against what it writes.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { createClient } from "../../../packages/client/dist/node/index.js";
import { compile } from "../../../packages/client/tests/compile.mjs";
import { until } from "./support/browser.mjs";
import { Server } from "./support/server.mjs";
import { TIMEOUT } from "./support/world.mjs";

const COMMAND = fileURLToPath(new URL("../../../packages/client/dist/types/command.js", import.meta.url));
const README = fileURLToPath(new URL("../../../packages/client/README.md", import.meta.url));
const SQL = fileURLToPath(new URL("../../../docs/SQL.md", import.meta.url));
const WITHIN_MS = 30_000;

const ALL = `CREATE SHARED TABLE app.all_types (
  id INT PRIMARY KEY, flag BOOLEAN NOT NULL, small INT, big BIGINT NOT NULL DEFAULT 5, real DOUBLE,
  body TEXT DEFAULT 'it''s */ a "text"', bytes BYTES, json JSON, at TIMESTAMP NOT NULL DEFAULT NOW(), uuid UUID DEFAULT UUID_V7(),
  likes BIGINT NOT NULL DEFAULT 0 MERGE ADD, author TEXT NOT NULL, maybe BOOLEAN
) WITH (ACCESS_LEVEL = WRITE, OWNER_COLUMN = author)`;

const run = promisify(execFile);
let folder;
let server;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidewire-types-"));
  server = await Server.start([
    ALL,
    "CREATE USER TABLE app.pairs (a INT, b TEXT, PRIMARY KEY (a, b))",
    "CREATE USER TABLE app.drafts (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), body TEXT)",
    `CREATE SHARED TABLE app.drawn (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), other BIGINT DEFAULT SNOWFLAKE_ID())
     WITH (ACCESS_LEVEL = READ)`,
    "CREATE STREAM TABLE app.seen (id INT PRIMARY KEY) WITH (TTL_SECONDS = 600)",
    "CREATE NAMESPACE other",
    "CREATE SHARED TABLE other.secrets (id INT PRIMARY KEY)",
    "CREATE SHARED TABLE other.news (id INT PRIMARY KEY, title TEXT NOT NULL) WITH (ACCESS_LEVEL = READ)",
  ]);
}, TIMEOUT);

after(async () => {
  await server?.remove();
  await rm(folder, { recursive: true, force: true });
});

/** Runs the program as this user, in the folder; gives its code and what it has said. */
async function types(user, args, { url = `http://${server.address}`, role, token } = {}) {
  const env = { ...process.env, TIDEWIRE_TOKEN: token ?? (await server.token(user, role)) };
  try {
    const { stdout, stderr } = await run(process.execPath, [COMMAND, "--url", url, ...args], { cwd: folder, env, timeout: WITHIN_MS });
    return { code: 0, stdout, stderr };
  } catch ({ code, stdout, stderr }) {
    return { code, stdout, stderr };
  }
}

/** What is written for this user. */
async function written(user, args = [], options) {
  const said = await types(user, ["--out", "written.ts", ...args], options);
  assert.deepEqual(said, { code: 0, stdout: said.stdout, stderr: "" });
  const text = await readFile(join(folder, "written.ts"), "utf8");
  await rm(join(folder, "written.ts"));
  return text;
}

/** The members of a type that is written, without what is said of them. */
function members(text, type) {
  const body = new RegExp(`^export type ${type} = \\{\\n([^]*?)^\\};`, "m").exec(text)?.[1];
  assert.ok(body !== undefined, `there is no ${type} in ${text}`);
  return body.split("\n").filter((line) => line && !line.includes("/**")).map((line) => line.trim());
}

/** An object as a program has it. */
function literal(object) {
  return `{ ${Object.entries(object).map(([name, value]) => `${name}: ${shown(value)}`).join(", ")} }`;
}

function shown(value) {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Date) return "new Date()";
  if (value instanceof ArrayBuffer || value instanceof Uint8Array) return `new ${value.constructor.name}(1)`;
  if (value instanceof DataView) return "new DataView(new ArrayBuffer(1))";
  return value === undefined ? "undefined" : JSON.stringify(value);
}

function tablesIn(text) {
  return members(text, "Tables").map((line) => line.split('"')[1]);
}

test("every type of column is there, as it is read, inserted and changed", TIMEOUT, async () => {
  const text = await written("ann");
  assert.deepEqual(members(text, "AppAllTypes"), [
    "id: number;",
    "flag: 0 | 1;",
    "small: number | null;",
    "big: number | bigint;",
    "real: number | null;",
    "body: string | null;",
    "bytes: Uint8Array | null;",
    "json: string | null;",
    "at: number | bigint;",
    "uuid: string | null;",
    "likes: number | bigint;",
    "author: string;",
    "maybe: 0 | 1 | null;",
    "_seq: number | null;",
  ]);
  assert.deepEqual(members(text, "AppAllTypesInsert"), [
    "id: number | bigint;",
    "flag: boolean;",
    "small?: number | bigint | null | undefined;",
    "big?: number | bigint;",
    "real?: number | bigint | null | undefined;",
    "body?: string | null;",
    "bytes?: ArrayBuffer | ArrayBufferView | null | undefined;",
    "json?: string | object | null | undefined;",
    "at?: Date | number | bigint;",
    "uuid?: string | null;",
    "likes?: number | bigint;",
    "author?: string;",
    "maybe?: boolean | null | undefined;",
  ]);
  const change = members(text, "AppAllTypesChange");
  assert.ok(change.includes("likes?: number | bigint | Add;") && change.includes("real?: number | bigint | null;"), change.join("\n"));
  assert.ok(text.includes("/** TEXT NOT NULL (OWNER_COLUMN) */"));
  assert.ok(!change.some((line) => line.startsWith("id")), "the key does not change");
  assert.deepEqual(members(text, "AppAllTypesKey"), ["id: number | bigint;"]);
  assert.deepEqual(members(text, "AppPairsKey"), ["a: number | bigint;", "b: string;"]);
  assert.match(text, /^export type AppPairsChange = \{ \[column: string\]: never \};$/m);
  // A device draws numbers for the tables of its user alone.
  assert.deepEqual(members(text, "AppDraftsInsert")[0], "id?: number | bigint;");
  assert.deepEqual(members(text, "AppDrawnInsert"), ["id: number | bigint;", "other: number | bigint | null;"]);
  assert.ok(text.includes("/** TEXT DEFAULT 'it''s *\\/ a \"text\"' */"), "a default is shown, and ends no comment");
  assert.match(text, /Written by `tidewire-types`/);
  assert.ok(text.endsWith("};\n"));
  assert.equal(compile({ "written.ts": text }), "");
});

test("the rows of a replica and of the server are what is written of them", TIMEOUT, async (t) => {
  const text = await written("ann");
  const client = createClient({ url: `ws://${server.address}`, user: "ann", token: () => server.token("ann") });
  t.after(() => client.close());
  const tables = { "app.all_types": "AppAllTypes", "app.seen": "AppSeen", "app.drafts": "AppDrafts" };
  for (const table of Object.keys(tables)) await client.subscribe(`SELECT * FROM ${table}`).ready();
  const inserts = [
    ["app.all_types", { id: 1, flag: true }],
    ["app.all_types", { id: 2n, flag: false, small: 2n, big: 2n ** 60n, real: 3n, body: null, json: { a: [1] }, at: 7n }],
    ["app.all_types", { id: 3, flag: true, small: undefined, real: 0.5, json: "[]", at: new Date(), uuid: null }],
    ["app.all_types", { id: 4, flag: true, bytes: new ArrayBuffer(2), likes: 2, author: "ann", maybe: true }],
    ["app.all_types", { id: 5, flag: true, bytes: new DataView(new ArrayBuffer(1)), maybe: null }],
    ["app.seen", { id: 1 }],
    ["app.drafts", {}],
  ];
  const source = `import { createClient } from "@tidewire/client";\nimport type { Tables } from "./written.js";
    export const client = createClient<Tables>({ url: "", user: "", token: () => "" });\n`;
  let program = source;
  for (const [table, values] of inserts) {
    const fate = await (await client.insert(table, values)).decided();
    assert.equal(fate.state, "accepted", JSON.stringify(fate));
    program += `await client.insert(${JSON.stringify(table)}, ${literal(values)});\n`;
  }
  // What the compiler takes, the server has taken.
  const files = { "written.ts": text, "application.ts": program };
  for (const [table, type] of Object.entries(tables)) {
    const local = await client.query(`SELECT * FROM ${table}`);
    const { rows: remote } = await client.remote(`SELECT * FROM ${table}`);
    assert.ok(local.length > 0 && local.length === remote.length);
    files[`${type}.ts`] = `import type { RemoteRow } from "@tidewire/client";
      import type { ${type} } from "./written.js";
      export const local: ${type}[] = [${local.map(literal).join()}];
      export const remote: RemoteRow<${type}>[] = [${remote.map(literal).join()}];`;
  }
  assert.equal(compile(files), "");
});

test("one sees what he may read, of the namespaces that he asks for", TIMEOUT, async () => {
  const app = ["app.all_types", "app.drafts", "app.drawn", "app.pairs", "app.seen"];
  assert.deepEqual(tablesIn(await written("ann")), [...app, "other.news"]);
  assert.deepEqual(tablesIn(await written("root", [], { role: "admin" })), [...app, "other.news", "other.secrets"]);
  assert.deepEqual(tablesIn(await written("ann", ["--namespace", "other"])), ["other.news"]);
  assert.deepEqual(tablesIn(await written("ann", ["--namespace", "other", "--namespace", "app"])), [...app, "other.news"]);
  assert.equal(await written("ann"), await written("bob"), "the same tables are the same text");
  const none = await types("ann", ["--namespace", "aps"]);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /no table of the namespace aps .* there are tables in app, other; see how it is written/);
  assert.deepEqual(await readdir(folder), [], "nothing is written");
});

const PROGRAM = `
  import { add, createClient } from "@tidewire/client";
  import type { NotesNotes, Tables } from "./written.js";
  const client = createClient<Tables>({ url: "https://sync.example.com", user: "ann", token: () => "t" });
  await client.insert("notes.notes", { id: 1, title: "x" });
  await client.update("notes.notes", { id: 1 }, { title: "y", likes: add(1) });
  for (const { title } of await client.query<Pick<NotesNotes, "title">>("SELECT title FROM notes.notes")) title.trim();
  client.watch<NotesNotes>("SELECT * FROM notes.notes").onResult(({ rows }) => rows.map((row) => row.title));
`;

test("a program fails to compile when a column that it names has gone, and not before", TIMEOUT, async () => {
  await server.sql("CREATE NAMESPACE notes");
  await server.sql("CREATE USER TABLE notes.notes (id INT PRIMARY KEY, title TEXT NOT NULL, likes INT NOT NULL DEFAULT 0 MERGE ADD)");
  const compiled = async () => compile({ "application.ts": PROGRAM, "written.ts": await written("ann", ["--namespace", "notes"]) });
  assert.equal(await compiled(), "");
  await server.sql("ALTER TABLE notes.notes ADD COLUMN name TEXT");
  assert.equal(await compiled(), "");
  await server.sql("ALTER TABLE notes.notes DROP COLUMN title");
  const said = await compiled();
  // The insert, the update, the query, and the row of the watch.
  assert.deepEqual([...new Set(said.match(/^application\.ts\(\d+/gm))].map((at) => Number(at.split("(")[1])), [5, 6, 7, 8], said);
});

test("the example of the README compiles with the tables of the documentation", TIMEOUT, async (t) => {
  const own = await Server.start();
  t.after(() => own.remove());
  await own.sql("CREATE NAMESPACE chat");
  const [create] = /^CREATE SHARED TABLE chat\.messages[^;]*/m.exec(await readFile(SQL, "utf8"));
  await own.sql(create);
  await own.sql("ALTER TABLE chat.messages ADD COLUMN likes INT NOT NULL DEFAULT 0 MERGE ADD");
  const url = `http://${own.address}`;
  const text = await written("ann", [], { url, token: await own.token("ann") });
  const blocks = [...(await readFile(README, "utf8")).matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  const [code] = blocks.filter((code) => code.includes("createClient<Tables>"));
  assert.equal(compile({ "tables.ts": text, "example.ts": code }, { lib: ["ES2022", "DOM"] }), "");
});

test("tables whose names come to the same are told apart", TIMEOUT, async () => {
  for (const sql of ["CREATE NAMESPACE a", "CREATE NAMESPACE a_b", "CREATE NAMESPACE uint8"]) await server.sql(sql);
  for (const table of ["a.b_c", "a_b.c", "a.d", "a.d_key", "uint8.array", "a.b1"]) await server.sql(`CREATE USER TABLE ${table} ("default" BYTES PRIMARY KEY, class INT)`);
  const text = await written("ann", ["--namespace", "a", "--namespace", "a_b", "--namespace", "uint8"]);
  const names = members(text, "Tables").map((line) => line.replace(/"(.*)": \{ row: (\w+);.*/, "$1 $2"));
  assert.deepEqual(names, ["a.b1 AB1", "a.b_c a__b_c", "a.d a__d", "a.d_key a__d_key", "a_b.c a_b__c", "uint8.array uint8__array"]);
  assert.equal(compile({ "written.ts": text }), "");
});

test("--check tells whether the file is what the server has, and writes nothing", TIMEOUT, async () => {
  await server.sql("CREATE NAMESPACE checked");
  await server.sql("CREATE USER TABLE checked.one (id INT PRIMARY KEY)");
  const file = join(folder, "checked.ts");
  const args = ["--namespace", "checked", "--out", "checked.ts"];
  const missing = await types("ann", [...args, "--check"]);
  assert.deepEqual([missing.code, missing.stdout], [1, ""]);
  assert.match(missing.stderr, /there is no checked\.ts: write it again/);
  assert.match((await types("ann", args)).stdout, /checked\.ts is written\n$/);
  assert.match((await types("ann", args)).stdout, /checked\.ts is what the server has\n$/);
  assert.equal((await types("ann", [...args, "--check"])).code, 0);
  const text = await readFile(file, "utf8");
  await writeFile(file, text.replaceAll("\n", "\r\n"));
  assert.equal((await types("ann", [...args, "--check"])).code, 0, "git may have given its lines other ends");
  await server.sql("ALTER TABLE checked.one ADD COLUMN two TEXT");
  await writeFile(file, text);
  const other = await types("ann", [...args, "--check"]);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /checked\.ts is not what the server has, from line \d+ on: write it again with tidewire-types, without --check/);
  assert.equal(await readFile(file, "utf8"), text);
  // A link stays a link, and nothing is left beside it.
  await symlink("checked.ts", join(folder, "link.ts"));
  assert.equal((await types("ann", ["--namespace", "checked", "--out", "link.ts"])).code, 0);
  assert.match(await readFile(file, "utf8"), /two/);
  assert.deepEqual(await readdir(folder), ["checked.ts", "link.ts"]);
  for (const name of ["checked.ts", "link.ts"]) await rm(join(folder, name));
});

test("--watch follows the tables through changes and a server that is away", TIMEOUT, async (t) => {
  const own = await Server.start(["CREATE USER TABLE app.notes (id INT PRIMARY KEY, body TEXT)"]);
  t.after(() => own.remove());
  const file = join(folder, "watched.ts");
  const env = { ...process.env, TIDEWIRE_TOKEN: await own.token("ann") };
  const args = [COMMAND, "--url", `ws://${own.address}`, "--out", file, "--watch", "--every", "0.2"];
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  t.after(() => rm(file, { force: true }));
  const lines = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line.replace("tidewire-types: ", "").replace(file, "FILE")));
  const said = async (line) => {
    await until(`${line} of ${lines.join("\n")}`, () => lines.length > 0, WITHIN_MS);
    assert.match(lines.shift(), line);
  };
  await said(/^FILE is written: looking every 0\.2 s$/);
  assert.match(await readFile(file, "utf8"), /body: string/);
  await own.sql("ALTER TABLE app.notes ADD COLUMN likes INT NOT NULL DEFAULT 0");
  await said(/^FILE is written: \+ app\.notes\.likes$/);
  assert.match(await readFile(file, "utf8"), /likes: number/);
  await own.sql("ALTER TABLE app.notes DROP COLUMN body");
  await said(/^FILE is written: - app\.notes\.body$/);
  await own.sql("CREATE USER TABLE app.more (id INT PRIMARY KEY)");
  await said(/^FILE is written: \+ app\.more$/);
  await own.stop();
  await until("the server is away", () => lines.some((line) => line.includes("cannot be reached")), WITHIN_MS);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const away = lines.length;
  await own.start();
  await until("the server is back", () => lines.at(-1) === "FILE is what the server has", WITHIN_MS);
  // It may be away in another way while it stops and starts, and each is said once.
  assert.ok(away <= 3 && lines.length <= away + 3, lines.join("\n"));
  for (const line of lines.splice(0).slice(0, -1)) assert.match(line, /^the server at .*\. Looking again every 0\.2 s$/);
  await own.sql("DROP TABLE app.more");
  await said(/^FILE is written: - app\.more$/);
  // Somebody else has changed the file.
  await writeFile(file, "");
  await said(/^FILE is written: it was not what the server has$/);
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.deepEqual(lines, [], "it says nothing when nothing has changed");
  const ended = once(child, "exit", { signal: AbortSignal.timeout(WITHIN_MS) });
  child.kill("SIGINT");
  assert.deepEqual(await ended, [0, null]);
  assert.deepEqual(await readdir(folder), ["watched.ts"]);
});

test("what goes wrong is a sentence that says what to do", TIMEOUT, async (t) => {
  const check = async (code, line, args, options) => {
    const said = await types("ann", args, options);
    assert.deepEqual([said.code, said.stdout], [code, ""], said.stderr);
    assert.match(said.stderr, line);
    assert.equal(said.stderr.trim().split("\n").length, 1);
  };
  await check(1, /the server refuses the token: .* `tidewire token` makes one: give it in TIDEWIRE_TOKEN/, [], { token: "secret" });
  await check(1, /refuses the token/, ["--watch"], { token: "secret" });
  await check(1, /127\.0\.0\.1:9 cannot be reached \(.*\): start it, or see how the url is written/, [], { url: "http://127.0.0.1:9" });
  await check(1, /does not tell its tables \(not_found\): there is nothing at this path/, [], { url: `http://${server.address}/nowhere` });
  await check(1, /nowhere\/x\.ts cannot be written \(ENOENT\): see that its folder is there/, ["--out", "nowhere/x.ts"]);
  await check(1, /\. cannot be read \(EISDIR\)/, ["--out", "."]);
  await check(2, /there is no token: set TIDEWIRE_TOKEN, or give --token/, [], { token: " " });
  await check(2, /the url sync\.example\.com is none/, [], { url: "sync.example.com" });
  await check(2, /begins with https: or wss:/, [], { url: "ftp://sync.example.com" });
  await check(2, /--check looks once and --watch goes on/, ["--check", "--watch"]);
  await check(2, /--every is for --watch/, ["--every", "1"]);
  await check(2, /--every is a number of seconds/, ["--watch", "--every", "0"]);
  await check(2, /Unknown option '--wach'\. --help says how it is called/, ["--wach"]);
  await check(2, /what is given is no option/, ["secret"]);
  const site = createServer((request, response) => {
    if (request.url.startsWith("/moved")) response.writeHead(308, { Location: "https://elsewhere.example/" });
    response.end("<html>");
  });
  await once(site.listen(0, "127.0.0.1"), "listening");
  t.after(() => site.close());
  const url = `http://127.0.0.1:${site.address().port}`;
  await check(1, /is answered with 200, and not by a Tidewire server: see how the url is written/, [], { url });
  await check(1, /leads on to https:\/\/elsewhere\.example\/: give that address to --url/, [], { url: `${url}/moved` });
  assert.deepEqual(await readdir(folder), []);
  const help = await types("ann", ["--help"]);
  assert.deepEqual([help.code, help.stderr], [0, ""]);
  for (const option of ["url", "token", "out", "namespace", "check", "watch", "every"]) assert.ok(help.stdout.includes(`--${option} `), option);
});
