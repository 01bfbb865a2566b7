// Makes the service worker when the app was built: what it caches is what was built.
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("service-worker.js", import.meta.url));
const NAME = "service-worker.js";
/** Where things are, in that place: it is read from the network. */
const CONFIG = "config.json";

/** @returns {import("vite").Plugin} */
export function shell() {
  let folder = "";
  return {
    name: "shell",
    apply: "build",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    // Files of `public` are there by then, and the worker with its wasm, whoever has emitted them.
    async closeBundle() {
      const files = await filesIn(folder);
      const hash = createHash("sha256");
      for (const file of files) hash.update(file).update(await readFile(join(folder, file)));
      const source = await readFile(SOURCE, "utf8");
      const made = source
        .replace('"__VERSION__"', JSON.stringify(hash.update(source).digest("hex").slice(0, 16)))
        .replace('"__FILES__"', files.map((file) => JSON.stringify(file)).join(", "));
      await writeFile(join(folder, NAME), made);
    },
  };
}

/** In an order that is always the same, by their paths from there. */
async function filesIn(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const files = paths.map((path) => relative(folder, path).split(sep).join("/"));
  return files.filter((file) => ![NAME, CONFIG].includes(file)).sort();
}
