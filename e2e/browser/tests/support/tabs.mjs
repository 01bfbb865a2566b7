// Several pages of one site, and the ways in which one of them ends.
import assert from "node:assert/strict";

import { ready, until } from "./browser.mjs";

export const TYPED = "CREATE USER TABLE app.typed (id BIGINT PRIMARY KEY, page BIGINT)";

/** Ways in which a page ends. Each gives the page back, if it is there again. */
export const ENDS = {
  close: async (page) => void (await page.close()),
  reload: async (page) => {
    await page.reload();
    await ready(page);
    return page;
  },
  navigate: async (page) => {
    await page.goto("about:blank");
    return page;
  },
  crash: async (page) => {
    const crashed = page.waitForEvent("crash");
    const cdp = await page.context().newCDPSession(page);
    // It never answers.
    cdp.send("Page.crash").catch(() => undefined);
    await crashed;
    await page.close();
  },
  terminate: async (page) => {
    // As when the browser ends the worker alone, and tells nobody.
    await page.evaluate(() => workers.at(-1).terminate());
    return page;
  },
  trap: async (page) => {
    await page.evaluate(() => workers.at(-1).dispatchEvent(new ErrorEvent("error", { message: "unreachable" })));
    return page;
  },
};

/** Opens the client of a page, with the table that all write. */
export async function begin(page) {
  await page.evaluate(() => openWith("ann", "app.typed"));
}

/** Writes one number after the other, until it is to end. */
export async function type(page, name) {
  await page.evaluate(async (name) => {
    Object.assign(globalThis, { acknowledged: [], failures: [], longestGap: 0, isOver: false });
    const next =
      "INSERT INTO app.typed (id, page) SELECT coalesce(max(id), 0) + 1, $1 FROM app.typed RETURNING id";
    const write = async () => {
      let last = performance.now();
      while (!globalThis.isOver) {
        try {
          const { rows } = await client.execute(next, [name]);
          acknowledged.push(rows[0].id);
        } catch (error) {
          failures.push(`${error.code}: ${error.message}`);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        const now = performance.now();
        globalThis.longestGap = Math.max(longestGap, now - last);
        last = now;
      }
    };
    globalThis.typing = write();
  }, name);
}

/** Ends that, and says what it was told. */
export async function typed(page) {
  return await page.evaluate(async () => {
    globalThis.isOver = true;
    await typing;
    return { acknowledged, failures, longestGap };
  });
}

/**
 * Two pages; the one that has the replica ends in this way while the other writes, which goes on: nothing is lost or
 * doubled. `before`: what the first one does before.
 */
export async function goesOn(t, { server, open }, way, before = async () => undefined) {
  const leader = await open();
  await begin(leader);
  const other = await open();
  await begin(other);
  await type(other, 2);
  await until("it has begun", () => other.evaluate(() => acknowledged.length > 5));
  await before(leader);
  await ENDS[way](leader);
  const count = await other.evaluate(() => acknowledged.length);
  await until("it goes on", () => other.evaluate((count) => acknowledged.length > count + 20, count));
  const { acknowledged, failures, longestGap } = await typed(other);
  assert.deepEqual(failures, []);
  await checkTyped(other, server, 2, acknowledged);
  t.diagnostic(`${way}: ${acknowledged.length} writes, longest gap ${Math.round(longestGap)} ms`);
  return { leader, other };
}

/** Each number is there once, here and at the server, and those that a page was told are its own. */
export async function checkTyped(page, server, name, acknowledged) {
  await page.evaluate(() => client.waitForSync({ timeout: 60_000 }));
  const rows = await page.evaluate(() => client.query("SELECT id, page FROM app.typed ORDER BY id"));
  assert.deepEqual(rows.map(({ id }) => id), rows.map((_, at) => at + 1));
  assert.deepEqual(rows.filter(({ page }) => page === name).map(({ id }) => id), acknowledged);
  const there = await server.rows("SELECT id FROM app.typed ORDER BY id", "ann");
  assert.deepEqual(there.map(([id]) => Number(id)), rows.map(({ id }) => id));
}
