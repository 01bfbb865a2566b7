import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { compile } from "./compile.mjs";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

test("what pages of several versions tell each other is the version of the package", async () => {
  const { version } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  const { VERSION, compare } = await import("../dist/version.js");
  assert.equal(VERSION, version);
  const hello = (version, protocol = 1) => ({ protocol, version });
  assert.ok(compare(hello("0.10.0"), hello("0.9.9")) > 0);
  assert.ok(compare(hello("1.0.0"), hello("0.9.9", 2)) < 0);
  assert.equal(compare(hello("0.1.0"), hello("0.1.0")), 0);
});

test("applications can be compiled without the DOM, and may give undefined for what they do not say", () => {
  const source = `
    import { type ClientOptions, createClient, type Row, type WatchResult } from "@tidewire/client";
    const options: ClientOptions = {
      url: "https://sync.example.com", user: "ann", token: () => "t",
      name: undefined, appVersion: undefined, verifyEvery: undefined, stalledAfter: undefined, persist: undefined, log: undefined,
    };
    export async function use(): Promise<readonly Row[]> {
      const client = createClient(options);
      client.subscribe("SELECT", undefined, { fetchLast: undefined, batchRows: undefined, ttl: undefined });
      const watch = client.watch("SELECT", undefined, { key: undefined });
      watch.onResult((result: WatchResult) => result.rows);
      const write = { online: undefined, queue: undefined, onReject: undefined, expect: undefined, replaces: undefined };
      await client.execute("INSERT", undefined, write);
      await client.batch([{ sql: "INSERT", params: undefined }], undefined);
      await client.remote("SELECT", undefined, { timeout: undefined });
      await client.waitForSync({ timeout: undefined });
      await client.signOut("keep", { discardPending: undefined });
      return await client.query("SELECT");
    }`;
  assert.equal(compile({ "application.mts": source }), "");
});

test("what is published has its licences, and the files that its page fetches", () => {
  const said = execFileSync("npm", ["pack", "--dry-run", "--json", "--silent"], { cwd: PACKAGE, encoding: "utf8" });
  const files = JSON.parse(said)[0].files.map(({ path }) => path);
  for (const file of ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist/index.js", "dist/index.d.ts", "dist/worker.js", "dist/types/command.js"]) {
    assert.ok(files.includes(file), `${file} is not in ${files}`);
  }
  const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
  for (const file of ["dist/worker.js", "wasm/tidewire.js", "wasm/tidewire_bg.wasm"]) {
    assert.ok(files.includes(file), `${file} is not in ${files}`);
    assert.ok(readme.includes(`\`${file}\``), `the README does not name ${file}`);
  }
});
