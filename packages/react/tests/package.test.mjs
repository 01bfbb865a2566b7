import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const MODULES = join(PACKAGE, "../node_modules");
const README = readFileSync(join(PACKAGE, "README.md"), "utf8");
const EXAMPLES = [...README.matchAll(/```tsx\n(.*?)```/gs)].map(([, code]) => code);

/** What the compiler says of these files, as an application has them. */
function compile(t, files) {
  const folder = mkdtempSync(join(tmpdir(), "tidewire-react-"));
  t.after(() => rmSync(folder, { recursive: true }));
  symlinkSync(MODULES, join(folder, "node_modules"));
  for (const [name, code] of Object.entries(files)) writeFileSync(join(folder, name), code);
  const compilerOptions = {
    target: "ES2022",
    module: "ESNext",
    moduleResolution: "Bundler",
    lib: ["ES2022", "DOM"],
    jsx: "react-jsx",
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: Object.keys(files) }));
  try {
    execFileSync(process.execPath, [join(MODULES, "typescript/bin/tsc"), "-p", folder], { encoding: "utf8" });
    return "";
  } catch ({ stdout }) {
    return stdout;
  }
}

test("the examples of the README compile, and the first one has less than 15 lines", (t) => {
  assert.equal(EXAMPLES.length, 4);
  assert.equal(compile(t, Object.fromEntries(EXAMPLES.map((code, at) => [`example${at}.tsx`, code]))), "");
  const [first] = EXAMPLES;
  assert.ok(first.trim().split("\n").length < 15, first);
});

test("rows, parameters and results have types, and undefined may be given for what is not said", (t) => {
  const good = `
    import type { Mutation, MutationState } from "@tidewire/client";
    import { useLiveQuery, useMutation, useMutationState, useSubscription, useSuspenseLiveQuery } from "@tidewire/react";
    interface Message { id: number; body: string | null }
    export function use(subscribe: boolean | undefined, mutation: Mutation) {
      const options = { subscribe, key: undefined, whileHidden: undefined };
      const body: string | null | undefined = useLiveQuery<Message>("SELECT", [1, undefined, new Date()], options).rows[0]?.body;
      const row: Message | undefined = useSuspenseLiveQuery<Message>("SELECT", undefined, undefined).rows[0];
      useLiveQuery("SELECT", [], { subscribe: { sql: "SELECT", params: undefined, fetchLast: undefined, ttl: undefined } });
      useSubscription("SELECT", undefined, { fetchLast: undefined, batchRows: undefined, ttl: undefined }).loadOlder(5);
      const one: Promise<number> = useMutation(async (client, a: string, b?: number) => a.length + (b ?? 0)).write("a");
      const other: Promise<Mutation> = useMutation().write("INSERT", [1], { queue: "q" });
      const state: MutationState = useMutationState(mutation);
      return [body, row, one, other, state];
    }`;
  assert.equal(compile(t, { "good.tsx": good }), "");
  const bad = `
    import { useLiveQuery, useMutation } from "@tidewire/react";
    export function use() {
      useLiveQuery<{ id: number }>("SELECT").rows[0]!.other;
      useLiveQuery("SELECT").rows.push({});
      useMutation(async (_, a: string) => a).write(5);
      useLiveQuery("SELECT", [], { subscribe: "SELECT" });
    }`;
  assert.deepEqual(compile(t, { "bad.tsx": bad }).match(/error TS\d+/g).length, 4);
});

test("what is published has its licences, and nothing that was not meant", () => {
  const said = execFileSync("npm", ["pack", "--dry-run", "--json", "--silent"], { cwd: PACKAGE, encoding: "utf8" });
  const files = JSON.parse(said)[0].files.map(({ path }) => path);
  for (const file of ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist/index.js", "dist/index.d.ts"]) {
    assert.ok(files.includes(file), `${file} is not in ${files}`);
  }
  assert.deepEqual(files.filter((file) => /test|node_modules|^src/.test(file)), []);
  const { dependencies } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  assert.equal(dependencies, undefined);
});

test("server components are given all of it with the mark of the browser, and nobody else is", async () => {
  const mark = /^"use client";/;
  const found = (...conditions) => {
    const code = "console.log(import.meta.resolve('@tidewire/react'))";
    const args = [...conditions.map((it) => `--conditions=${it}`), "--input-type=module", "--eval", code];
    return execFileSync(process.execPath, args, { cwd: PACKAGE, encoding: "utf8" }).trim();
  };
  assert.match(readFileSync(fileURLToPath(found("react-server")), "utf8"), mark);
  assert.doesNotMatch(readFileSync(fileURLToPath(found()), "utf8"), mark);
  const [marked, all] = [await import("../dist/boundary.js"), await import("../dist/index.js")];
  assert.deepEqual({ ...marked }, { ...all });
});
