// The worker that has the replica is busy again and again, longer than it may be silent, while other pages write.
import assert from "node:assert/strict";
import { test } from "node:test";

import * as seeds from "./support/seeds.mjs";
import { NOTES, world } from "./support/world.mjs";

/** Seed 0 is small. */
const [SMALL, ROUNDS] = [2, 15];
const PAGES = 2;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test("however often a leader is silent, what was done is done once, and what was not is not", async (t) => {
  await seeds.forEach("browser-silences", 1, (seed) => t.test(`seed ${seed}`, (t) => play(t, seed)));
});

async function play(t, seed) {
  const { server, proxy, browser, site } = await world(t, NOTES);
  const chance = seeds.random(seed);
  const open = async () => {
    const page = await browser.open(site.at("obedient"));
    await page.evaluate(() => openWith("ann", "app.notes"));
    return page;
  };
  const leader = await open();
  const others = [];
  while (others.length < PAGES) others.push(await open());
  for (const [at, page] of others.entries()) await page.evaluate(write, String(at));
  const rounds = seed === 0 ? SMALL : ROUNDS;
  for (let round = 0; round < rounds; round += 1) {
    await leader.evaluate((ms) => workers.at(-1).postMessage({ type: "busy", ms }), 6_000 + 1_500 * chance());
    await sleep(5_800 + 1_000 * chance());
    // In the middle of a write, or when what is sent gets no answer, or offline.
    if (round % 3 === 1) proxy.stall();
    if (round % 3 === 2) proxy.cut();
    await sleep(700 + 1_500 * chance());
    proxy.goOn();
    proxy.open();
    await sleep(2_500 * chance());
  }
  const told = (await Promise.all(others.map((page) => page.evaluate(end)))).flat();
  const count = new Map();
  for (const [body] of await server.rows("SELECT body FROM app.notes")) count.set(body, (count.get(body) ?? 0) + 1);
  const wrong = told.filter(({ body, outcome }) => {
    const times = count.get(body) ?? 0;
    if (outcome === "done") return times !== 1;
    return outcome.includes("not known") ? times > 1 : times > 0;
  });
  assert.deepEqual(wrong, []);
  const inStandIn = told.filter(({ kind }) => kind === "stand-in").length;
  assert.ok(inStandIn > 0, "nothing was written in a stand-in");
  const unknown = told.filter(({ outcome }) => outcome.includes("not known")).length;
  console.log(`seed ${seed}: ${rounds} silences, ${told.length} writes, ${inStandIn} in a stand-in, ${unknown} not known`);
}

/** Writes until it is to end, without waiting for what it has written. A row that is written twice has two keys. It runs in a page. */
async function write(name) {
  const sql = "INSERT INTO app.notes (id, room, body) SELECT abs(random()) / 1024, 7, $1";
  Object.assign(globalThis, { told: [], isOver: false });
  const one = async (body, isTransaction) => {
    const { kind } = client.status.storage;
    try {
      if (isTransaction) await client.transaction((tx) => tx.execute(sql, [body]));
      else await client.execute(sql, [body]);
      told.push({ body, kind, outcome: "done" });
    } catch ({ code, message }) {
      told.push({ body, kind, outcome: `${code}: ${message}` });
    }
  };
  globalThis.writing = (async () => {
    const all = [];
    for (let at = 0; !isOver; at += 1) {
      all.push(one(`${name}.${at}`, at % 5 === 0));
      await new Promise((resolve) => setTimeout(resolve, 40 + 60 * Math.random()));
    }
    await Promise.all(all);
  })();
}

/** What came of each write. It runs in a page. */
async function end() {
  globalThis.isOver = true;
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("a write hangs")), 40_000));
  await Promise.race([writing, late]);
  await client.waitForSync({ timeout: 30_000 });
  return told;
}
