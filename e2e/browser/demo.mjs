// Plays a conversation in the web chat of a demo that runs: two people, of whom one is offline for a while.
//
// TIDEWIRE_DEMO_URL says where the page is, and TIDEWIRE_CHROMIUM which browser is started. It ends with an error when
// something is not shown that should be, or a page has complained.
import assert from "node:assert/strict";

import { Browser, until } from "./tests/support/browser.mjs";
import { Device } from "./tests/support/device.mjs";

const url = process.env.TIDEWIRE_DEMO_URL;
if (!url) throw new Error("TIDEWIRE_DEMO_URL is not set: `cargo xtask demo --check` does it");

const browsers = [];
try {
  const [ann, bob] = [await device("ann"), await device("bob")];
  const mark = Date.now().toString(36);
  const room = `demo ${mark}`;
  await ann.page.getByRole("button", { name: "New room" }).first().click();
  await ann.page.getByRole("dialog").getByLabel("Name").fill(room);
  await ann.page.getByRole("button", { name: "Make it" }).click();
  await ann.say("hello @bob");
  await bob.enter(room);
  await bob.sees("hello @bob");
  await bob.page.getByRole("button", { name: "Mentions" }).click();
  await bob.page.getByRole("dialog").locator(".found-item", { hasText: room }).waitFor();
  await bob.page.keyboard.press("Escape");

  await offline(ann, true);
  await ann.connection("Offline");
  await ann.say("one of ann");
  await bob.say("one of bob");
  await ann.page.reload();
  await ann.shows(["hello @bob", "one of ann"]);
  await offline(ann, false);
  await ann.connection("Connected");
  for (const it of [ann, bob]) await it.shows(["hello @bob", "one of bob", "one of ann"]);
  await until("nothing waits", async () => (await ann.page.locator(".delivery.is-waiting").count()) === 0);
  console.log("two people have chatted, one of them offline for a while: both see the same");
} finally {
  for (const browser of browsers) await browser.remove();
}
for (const { complaints } of browsers) assert.deepEqual(complaints, []);

/** Somebody who has the page open. */
async function device(name) {
  const browser = await Browser.start();
  browsers.push(browser);
  const page = await browser.page();
  await page.goto(new URL(`?as=${name}`, url).href);
  await page.getByRole("navigation", { name: "Rooms" }).waitFor();
  return new Device(page);
}

/** By the switch of the app: the network is that of the machine. */
async function offline({ page }, isOffline) {
  await page.getByRole("button", { name: "Settings" }).click();
  const control = page.getByRole("switch", { name: "Offline" });
  if ((await control.isChecked()) !== isOffline) await control.click();
  await page.keyboard.press("Escape");
}
