// Pages of one site that are opened, hidden, loaded again and ended at random.
import assert from "node:assert/strict";
import { test } from "node:test";

import { reload } from "./support/browser.mjs";
import * as seeds from "./support/seeds.mjs";
import { ENDS } from "./support/tabs.mjs";
import { world } from "./support/world.mjs";

const TYPED = "CREATE USER TABLE app.typed (id BIGINT PRIMARY KEY, page BIGINT NOT NULL, n BIGINT NOT NULL)";

/** Seed 0 is small. How soon a page answers is looked at where nothing else runs. */
const EVENTS = 1_000;
const [SMALL, LENIENT_MS, ANSWERS_WITHIN_MS] = [25, 20_000, 1_000];
const PAGES_MAX = 6;

test("whatever pages do, the others answer, and nothing is lost or doubled", async (t) => {
  await seeds.forEach("browser-tabs", 1, (seed) => t.test(`seed ${seed}`, (t) => play(t, seed)));
});

async function play(t, seed) {
  const [events, withinMs] = seed === 0 ? [SMALL, LENIENT_MS] : [EVENTS, ANSWERS_WITHIN_MS];
  const { server, browser, site } = await world(t, TYPED);
  browser.allow(/the page has crashed/);
  const pages = new Pages(browser, site, seeds.random(seed));
  await pages.open();
  for (let event = 0; event < events; event += 1) {
    const what = await pages.happen();
    await pages.check(withinMs, `event ${event}: ${what}`);
  }
  const told = await pages.end();
  const [page] = pages.all;
  await page.evaluate(() => client.waitForSync({ timeout: 60_000 }));
  const rows = await page.evaluate(() => client.query("SELECT id, page, n FROM app.typed ORDER BY id"));
  assert.deepEqual(rows.map(({ id }) => id), rows.map((_, at) => at + 1));
  const names = rows.map(({ page, n }) => `${page}.${n}`);
  assert.equal(new Set(names).size, names.length, "a write was done twice");
  const there = new Set(names);
  assert.deepEqual(told.filter((name) => !there.has(name)), [], "a write was lost");
  const stored = await server.rows("SELECT id FROM app.typed ORDER BY id", "ann");
  assert.deepEqual(stored.map(([id]) => Number(id)), rows.map(({ id }) => id));
  console.log(`seed ${seed}: ${events} events, ${rows.length} writes, slowest answer ${Math.round(pages.slowest)} ms`);
}

class Pages {
  #browser;
  #site;
  #chance;
  #names = 0;
  /** Pages that are there, and can be asked. */
  all = [];
  /** What pages were told that are not there any more. */
  #told = [];
  #hidden = new Set();
  #trapped = new Set();
  slowest = 0;

  constructor(browser, site, chance) {
    this.#browser = browser;
    this.#site = site;
    this.#chance = chance;
  }

  async open() {
    const page = await this.#browser.open(this.#site.url);
    this.all.push(page);
    await this.#begin(page);
  }

  /** Lets one thing happen, and says what. */
  async happen() {
    const chance = this.#chance();
    if (this.all.length < 2 || (chance < 0.25 && this.all.length < PAGES_MAX)) {
      await this.open();
      return "open";
    }
    const at = Math.floor(this.#chance() * this.all.length);
    const page = this.all[at];
    if (chance < 0.4) return await this.#see(page);
    if (chance < 0.5) {
      await page.evaluate(() => {
        dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
        dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
      });
      return "away and back";
    }
    // Which stops again soon is started again later each time.
    if (chance < 0.6 && !this.#trapped.has(page)) {
      this.#trapped.add(page);
      await ENDS.trap(page);
      return "trap";
    }
    await this.#keep(page);
    this.#hidden.delete(page);
    this.#trapped.delete(page);
    if (chance < 0.75) {
      await reload(page);
      await this.#begin(page);
      return "reload";
    }
    this.all.splice(at, 1);
    const way = chance < 0.9 ? "close" : "crash";
    await ENDS[way](page);
    return way;
  }

  /** Every page answers. */
  async check(withinMs, what) {
    await Promise.all(
      this.all.map(async (page, at) => {
        const took = await page.evaluate(async () => {
          const begun = performance.now();
          await client.query("SELECT count(*) FROM app.typed");
          return performance.now() - begun;
        });
        this.slowest = Math.max(this.slowest, took);
        assert.ok(took <= withinMs, `${what}: page ${at} of ${this.all.length} answered after ${Math.round(took)} ms`);
      }),
    );
  }

  /** Ends the writing, and gives all that pages were told. */
  async end() {
    for (const page of this.all) {
      const failures = await page.evaluate(async () => {
        globalThis.isOver = true;
        await typing;
        return failures;
      });
      assert.deepEqual(failures, []);
      await this.#keep(page);
    }
    return this.#told;
  }

  async #see(page) {
    const isSeen = this.#hidden.delete(page);
    if (!isSeen) this.#hidden.add(page);
    await page.evaluate((isSeen) => see(isSeen), isSeen);
    return isSeen ? "show" : "hide";
  }

  async #keep(page) {
    this.#told.push(...(await page.evaluate(() => acknowledged)));
  }

  async #begin(page) {
    this.#names += 1;
    await page.evaluate(async (name) => {
      await openWith("ann", "app.typed");
      Object.assign(globalThis, { acknowledged: [], failures: [], isOver: false });
      const next =
        "INSERT INTO app.typed (id, page, n) SELECT coalesce(max(id), 0) + 1, $1, $2 FROM app.typed";
      const write = async () => {
        for (let n = 1; !globalThis.isOver; n += 1) {
          try {
            await client.execute(next, [name, n]);
            acknowledged.push(`${name}.${n}`);
          } catch (error) {
            failures.push(`${error.code}: ${error.message}`);
          }
          await new Promise((resolve) => setTimeout(resolve, 30));
        }
      };
      globalThis.typing = write();
    }, this.#names);
  }
}
