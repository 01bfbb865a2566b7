// The tests of the hooks again, with the oldest React.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const PACKAGES = fileURLToPath(new URL("../..", import.meta.url));

/** What asks nothing of React. */
const LEFT_OUT = ["oldest.test.mjs", "package.test.mjs"];

test("the hooks do the same with React 18", { timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidewire-react-18-"));
  t.after(() => rmSync(folder, { recursive: true }));
  // Copies of what imports React, so that it finds this one; all else is where it is.
  mkdirSync(join(folder, "react"));
  for (const part of ["dist", "tests"]) cpSync(join(PACKAGES, "react", part), join(folder, "react", part), { recursive: true });
  cpSync(join(PACKAGES, "react-18/node_modules"), join(folder, "node_modules"), { recursive: true });
  for (const name of ["happy-dom", "loose-envify", "js-tokens"]) {
    symlinkSync(join(PACKAGES, "node_modules", name), join(folder, "node_modules", name));
  }
  mkdirSync(join(folder, "node_modules/@tidewire"));
  for (const place of ["client", "node_modules/@tidewire/client"]) symlinkSync(join(PACKAGES, "client"), join(folder, place));
  const { version } = createRequire(join(folder, "react/dist/index.js"))("react");
  assert.match(version, /^18\./);
  const tests = readdirSync(join(folder, "react/tests")).filter((name) => name.endsWith(".test.mjs") && !LEFT_OUT.includes(name));
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const ran = await new Promise((resolve) => {
    const args = ["--test", "--test-reporter=tap", ...tests.map((name) => join("react/tests", name))];
    execFile(process.execPath, args, { cwd: folder, env }, (error, stdout) => resolve({ error, stdout }));
  });
  assert.equal(ran.error, null, ran.stdout);
});
