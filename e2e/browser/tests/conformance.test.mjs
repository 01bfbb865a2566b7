// The conformance scripts in Chromium, each device a page of an origin of its own.
import { replay, userOf } from "./support/scripts.mjs";
import { Site } from "./support/site.mjs";
import { world } from "./support/world.mjs";

replay(async (t, tables) => {
  const { server, proxy, browser } = await world(t, ...tables);
  const device = async (name) => {
    const site = await Site.start(server, proxy.address);
    t.after(() => site.remove());
    const page = await browser.open(site.url);
    await page.evaluate((user) => void (globalThis.device = new Device(() => open(user))), userOf(name));
    return {
      step: (step, body) => page.evaluate(([step, body]) => globalThis.device.step(step, body), [step, body]),
      end: () => page.evaluate(() => globalThis.device.end()),
    };
  };
  return { server, device };
});
