// The application of the benchmark as it is served, and what of it a page downloads.
import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

import { build as buildByVite } from "vite";

const APP = fileURLToPath(new URL("app", import.meta.url));
const CLIENT = fileURLToPath(new URL("../../../packages/client", import.meta.url));

/** The part of the scripts that is the application's own. */
const OWN = /^index-/;

/** Builds it into this folder, as `vite build` does where nothing is said of the package. */
export async function build(folder) {
  await buildByVite({
    root: APP,
    configFile: false,
    logLevel: "warn",
    base: "./",
    // Instead of what npm has installed: it has the same files, and is not here.
    resolve: { alias: { "@tidewire/client": join(CLIENT, "dist/index.js") } },
    build: {
      outDir: folder,
      emptyOutDir: true,
      // The package by itself, so that its size is known without the application's.
      rolldownOptions: { output: { codeSplitting: { groups: [{ name: "client", test: CLIENT }] } } },
    },
  });
}

/** The kilobytes of what the package adds to a page, by its kind. */
export async function sizes(folder) {
  const assets = join(folder, "assets");
  const found = { wasm: [], js: [] };
  for (const name of await readdir(assets)) {
    if (!OWN.test(name)) found[extname(name).slice(1)]?.push(await readFile(join(assets, name)));
  }
  const samples = Object.entries(found).map(async ([kind, files]) => {
    if (files.length === 0) throw new Error(`vite has built no .${kind} of @tidewire/client in ${assets}`);
    const sum = async (pack) => {
      const packed = await Promise.all(files.map(pack));
      return packed.reduce((bytes, { length }) => bytes + length, 0) / 1000;
    };
    return [
      { what: kind, value: await sum((file) => file) },
      { what: `${kind}-gzip`, value: await sum((file) => promisify(gzip)(file, { level: 9 })) },
      { what: `${kind}-brotli`, value: await sum(brotli) },
    ];
  });
  return (await Promise.all(samples)).flat();
}

function brotli(file) {
  const { BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT } = constants;
  const params = { [BROTLI_PARAM_QUALITY]: 11, [BROTLI_PARAM_SIZE_HINT]: file.length };
  return promisify(brotliCompress)(file, { params });
}

/** The file of the WebAssembly, from the page's folder on. */
export async function wasmOf(folder) {
  const name = (await readdir(join(folder, "assets"))).find((name) => name.endsWith(".wasm"));
  return `assets/${name}`;
}
