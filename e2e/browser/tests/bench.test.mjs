// The script of the benchmark in a browser: once, with few rows. How long anything takes is not looked at.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Server } from "./support/server.mjs";
import { TIMEOUT } from "./support/world.mjs";

const SCRIPT = fileURLToPath(new URL("../bench/main.mjs", import.meta.url));

/** As many as a screen has. */
const ROWS = 50;

/** What it measures once for each round and has a limit for; measures without one; and says once. */
const LIMITED = ["all", "all-cold"];
const TIMED = ["screen", "all-offline", "screen-cold"];
const SIZES = ["wasm", "wasm-gzip", "wasm-brotli", "js", "js-gzip", "js-brotli"];

test("a round of the benchmark gives a sample of each", TIMEOUT, async (t) => {
  const server = await Server.start();
  t.after(() => server.remove());
  await server.sql("CREATE NAMESPACE bench");
  await server.sql("CREATE USER TABLE bench.notes (id BIGINT PRIMARY KEY, room_id BIGINT, body TEXT, INDEX (room_id))");
  const values = Array.from({ length: ROWS }, (_, id) => `(${id}, 1, 'x')`);
  await server.sql(`INSERT INTO bench.notes VALUES ${values.join(", ")}`, [], "u0");

  const env = { ...process.env, TIDEWIRE_BENCH_TOKEN: await server.token("u0") };
  const { stdout } = await promisify(execFile)(process.execPath, [SCRIPT, server.address, `${ROWS}`, "1"], { env });
  const samples = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(samples.map(({ what }) => what).sort(), [...LIMITED, ...TIMED, ...SIZES].sort());
  for (const { what, value, limit } of samples) {
    assert.ok(value > 0, `${what} is ${value}`);
    assert.equal(limit > 0, LIMITED.includes(what), `the limit of ${what} is ${limit}`);
  }
});
