// What every SDK does alike: the scripts of `e2e/conformance`, each device a page of an origin of its own.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { same } from "../pages/device.js";
import { Site } from "./support/site.mjs";
import { TIMEOUT, world } from "./support/world.mjs";

const SCRIPTS = new URL("../../conformance/", import.meta.url);

const names = readdirSync(SCRIPTS).filter((name) => name.endsWith(".json"));
assert.ok(names.length > 9, `${names}`);

for (const name of names) {
  const script = JSON.parse(readFileSync(new URL(name, SCRIPTS), "utf8"));
  test(`${name}: ${script.about}`, TIMEOUT, async (t) => {
    const { server, proxy, browser } = await world(t, ...script.tables);
    const pages = new Map();
    const page = async (device) => {
      if (!pages.has(device)) {
        const site = await Site.start(server, proxy.address);
        t.after(() => site.remove());
        const opened = await browser.open(site.url);
        await opened.evaluate((user) => (globalThis.device = new Device(() => open(user))), device.split("-")[0]);
        pages.set(device, opened);
      }
      return pages.get(device);
    };
    // A write has a name of its own, and who has written it is not said when its state is looked at.
    const writers = new Map();
    for (const [place, described] of script.steps.entries()) {
      const [[step, body]] = Object.entries(described);
      const told = `${name}, step ${place + 1}: ${JSON.stringify(described)}`;
      if (step === "server") {
        const answer = await server.sql(body.sql, [], body.user);
        if (body.rows) assert.ok(same(answer.rows, body.rows), `${told} gives ${JSON.stringify(answer.rows)}`);
        continue;
      }
      const device = body.client ?? writers.get(body.name);
      if (body.client && body.name) writers.set(body.name, body.client);
      const failed = await (await page(device)).evaluate(
        ([step, body]) => globalThis.device.step(step, body).then(() => null, (error) => error.message),
        [step, body],
      );
      assert.equal(failed, null, told);
    }
    for (const opened of pages.values()) await opened.evaluate(() => globalThis.device.end());
  });
}
