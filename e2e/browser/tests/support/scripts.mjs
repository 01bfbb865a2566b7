// The scripts of `e2e/conformance`, replayed: what every SDK does alike.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { same } from "../../pages/device.js";
import { TIMEOUT } from "./world.mjs";

const SCRIPTS = new URL("../../../conformance/", import.meta.url);

/**
 * A test for each script. `begin` makes its world, with these tables: `server` is a {@link Server}, and `device` gives
 * what does the steps of a device, by its name.
 */
export function replay(begin) {
  const names = readdirSync(SCRIPTS).filter((name) => name.endsWith(".json"));
  assert.ok(names.length > 9, `${names}`);
  for (const name of names) {
    const script = JSON.parse(readFileSync(new URL(name, SCRIPTS), "utf8"));
    test(`${name}: ${script.about}`, TIMEOUT, async (t) => {
      const { server, device } = await begin(t, script.tables);
      const devices = new Map();
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
        const named = body.client ?? writers.get(body.name);
        if (body.client && body.name) writers.set(body.name, body.client);
        if (!devices.has(named)) devices.set(named, await device(named));
        const failed = await devices.get(named).step(step, body).then(
          () => null,
          (error) => error.message,
        );
        assert.equal(failed, null, told);
      }
      for (const it of devices.values()) await it.end();
    });
  }
}

/** Whose device it is. */
export function userOf(device) {
  return device.split("-")[0];
}
