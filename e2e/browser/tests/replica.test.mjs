// The tests of the replica, `sdk-core/crates/replica/tests/it`, in a browser: on the private files of an origin.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Browser, until } from "./support/browser.mjs";
import { Site } from "./support/site.mjs";
import { TIMEOUT } from "./support/world.mjs";

/** Where no server is. */
const NOBODY = "127.0.0.1:9";

/** Those alone in whose names this is. */
const PART = process.env.TIDEWIRE_REPLICA_TESTS ?? "";

/** The worker that runs the tests, and after one that has failed another one, on files of its own. */
class Runner {
  #page;
  #worker;
  #workers = 0;
  names;

  constructor(page) {
    this.#page = page;
  }

  async begin() {
    const began = this.#page.waitForEvent("worker");
    await this.#page.evaluate(() => {
      globalThis.runner?.terminate();
      globalThis.runner = new Worker("replica.js", { type: "module" });
    });
    this.#worker = await began;
    await until("the worker's script", () => this.#worker.evaluate(() => globalThis.isReady === true));
    this.names = await this.#worker.evaluate(() => begin());
    this.#workers += 1;
  }

  async run(name) {
    if (!this.#worker) await this.begin();
    const worker = this.#worker;
    this.#worker = undefined;
    const failure = await worker.evaluate(
      ([name, directory]) => run(name, directory).then(() => undefined, (error) => String(error)),
      [name, `tests-${this.#workers}`],
    );
    if (failure !== undefined) assert.fail(failure);
    this.#worker = worker;
  }
}

test("the replica on the private files of an origin", { timeout: 600_000 }, async (t) => {
  const site = await Site.start(undefined, NOBODY);
  t.after(() => site.remove());
  const browser = await Browser.start();
  t.after(() => browser.remove());
  t.after(() => assert.deepEqual(browser.complaints, []));
  const page = await browser.page();
  await page.goto(site.page("replica.html"));
  const runner = new Runner(page);
  await runner.begin();
  const names = runner.names.filter((name) => name.includes(PART));
  assert.ok(names.length > (PART === "" ? 150 : 0), `${names.length} tests`);
  for (const name of names) await t.test(name, TIMEOUT, () => runner.run(name));
});
