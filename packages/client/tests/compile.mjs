// Compiles small programs as an application does.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const COMPILER = join(PACKAGE, "../node_modules/typescript/bin/tsc");

const OPTIONS = {
  target: "ES2022",
  module: "NodeNext",
  lib: ["ES2022"],
  types: [],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUnusedLocals: true,
  noEmit: true,
  paths: { "@tidewire/client": [join(PACKAGE, "dist/index.d.ts")] },
};

/** What the compiler says of these files, without the DOM; nothing when all is well. */
export function compile(files, options = {}) {
  const folder = mkdtempSync(join(tmpdir(), "tidewire-compile-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    const config = { compilerOptions: { ...OPTIONS, ...options }, files: Object.keys(files) };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    execFileSync(process.execPath, [COMPILER, "--pretty", "false"], { cwd: folder, encoding: "utf8" });
    return "";
  } catch (error) {
    if (typeof error.stdout !== "string") throw error;
    return error.stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
