// How long a page takes until it has rows that are on the device, and what it downloads for that.
//
// `node bench/main.mjs HOST:PORT ROWS ROUNDS`: a server that has so many rows in `bench.notes` for the user whose token
// is in TIDEWIRE_BENCH_TOKEN. Prints a line of JSON for each sample: what, its value in milliseconds or kilobytes, and
// the limit of the same round, if it has one. The browser is the one of TIDEWIRE_CHROMIUM.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { Browser } from "../tests/support/browser.mjs";
import { Proxy } from "../tests/support/proxy.mjs";
import { Site } from "../tests/support/site.mjs";
import { build, sizes, wasmOf } from "./build.mjs";

const LIMIT = fileURLToPath(new URL("limit", import.meta.url));

/** A screen full of them. */
const SCREEN_ROWS = 50;

/** What takes longer hangs. */
const WITHIN_MS = 60_000;

/** For the worker of a page that was closed to be gone: until then it has the files. */
const GONE_AFTER_MS = 300;

const [address, rows, rounds] = process.argv.slice(2);
const token = process.env.TIDEWIRE_BENCH_TOKEN;

const made = [];
const keep = (it) => {
  made.push(it);
  return it;
};
try {
  await run();
} catch ({ message }) {
  console.error(message);
  process.exitCode = 1;
} finally {
  for (const it of made.reverse()) await it.remove();
}

async function run() {
  if (!token || !(Number(rounds) > 0)) {
    throw new Error("give HOST:PORT ROWS ROUNDS, and a token in TIDEWIRE_BENCH_TOKEN: `cargo xtask bench browser` does");
  }
  const folder = await mkdtemp(join(tmpdir(), "tidewire-bench-"));
  keep({ remove: () => rm(folder, { recursive: true, force: true }) });
  await build(folder);

  const server = { address, token: async () => token };
  const proxy = keep(await Proxy.to(server));
  const site = keep(await Site.start(server, proxy.address, { pages: folder, limit: LIMIT }));
  const browser = keep(await Browser.start());
  browser.allow(/WebSocket connection to .* failed/);
  const app = (rows) => `${site.page("index.html")}?server=ws://${proxy.address}&user=u0&rows=${rows}`;
  const limit = `${site.file("limit/index.html")}?rows=${rows}&wasm=${encodeURIComponent(site.page(await wasmOf(folder)))}`;

  const prepare = async () => {
    // All rows come from the server, and stay.
    await load(browser, app(rows), (page) => page.evaluate(() => loaded()));
    await load(browser, `${limit}&write`);
  };
  // What is packed takes a core for seconds, and nothing is timed yet.
  const [weighed] = await Promise.all([sizes(folder), prepare()]);
  weighed.forEach(say);
  for (let round = 0; round < Number(rounds); round += 1) await measure(browser, proxy, { app, limit });
  if (browser.complaints.length > 0) throw new Error(`a page complains: ${browser.complaints.join("\n")}`);
}

/** One round: the browser has been open for a while, is offline, and has just been started. */
async function measure(browser, proxy, { app, limit }) {
  const warm = await load(browser, limit);
  say({ what: "all", value: await load(browser, app(rows)), limit: warm });
  say({ what: "screen", value: await load(browser, app(SCREEN_ROWS)) });
  proxy.cut();
  say({ what: "all-offline", value: await load(browser, app(rows)) });
  proxy.open();
  await restart(browser);
  const cold = await load(browser, limit);
  await restart(browser);
  say({ what: "all-cold", value: await load(browser, app(rows)), limit: cold });
  await restart(browser);
  say({ what: "screen-cold", value: await load(browser, app(SCREEN_ROWS)) });
}

async function restart(browser) {
  await browser.stop();
  await browser.start();
}

/** Opens a page, and gives when it had its rows. */
async function load(browser, url, look = () => undefined) {
  const page = await browser.page();
  await page.goto(url);
  const ms = await within(url, page.evaluate(() => shown));
  await within(url, look(page));
  await page.close();
  await new Promise((resolve) => setTimeout(resolve, GONE_AFTER_MS));
  return ms;
}

async function within(url, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no rows within ${WITHIN_MS / 1000} s at ${url}`)), WITHIN_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function say(sample) {
  console.log(JSON.stringify(sample));
}
