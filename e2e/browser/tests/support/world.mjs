// A server, the network to it, a site and a browser, for one test.
import assert from "node:assert/strict";

import { Browser } from "./browser.mjs";
import { Proxy } from "./proxy.mjs";
import { Server } from "./server.mjs";
import { Site } from "./site.mjs";

/** Makes them, with these tables; they go with the test, which fails when a page has complained of something. */
export async function world(t, ...tables) {
  const made = await worldOf(t, Browser, tables);
  // That there is no connection is no defect, and Chromium says so each time.
  made.browser.allow(/WebSocket connection to .* failed/);
  return made;
}

/** The same with a browser of this kind. */
export async function worldOf(t, Kind, tables) {
  const made = [];
  t.after(async () => {
    for (const it of made.reverse()) await it.remove();
  });
  const keep = (it) => {
    made.push(it);
    return it;
  };
  const server = keep(await Server.start(tables));
  const proxy = keep(await Proxy.to(server));
  const site = keep(await Site.start(server, proxy.address));
  const browser = keep(await Kind.start());
  t.after(() => assert.deepEqual(browser.complaints, []));
  return { server, proxy, site, browser, open: () => browser.open(site.url) };
}

/** Longer than any test takes. What takes longer hangs. */
export const TIMEOUT = { timeout: 120_000 };

export const NOTES = `CREATE SHARED TABLE app.notes (id BIGINT PRIMARY KEY, room BIGINT NOT NULL, body TEXT, INDEX (room))
  WITH (ACCESS_LEVEL = WRITE)`;
