// The screens of the web chat: by the keyboard, as axe sees them, and as pictures.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { until } from "./support/browser.mjs";
import { chat, notify } from "./support/chat.mjs";
import { TIMEOUT } from "./support/world.mjs";

test("everything is reached by the keyboard alone", TIMEOUT, async (t) => {
  const { device } = await chat(t, { rooms: ["lunch", "watch"] });
  const ann = await device();
  const { page } = ann;
  const { keyboard } = page;
  /** Goes on with Tab until this has the focus. */
  const tabTo = async (name, most = 30) => {
    for (let step = 0; step < most; step += 1) {
      await keyboard.press("Tab");
      const found = await page.evaluate(() => {
        const it = document.activeElement;
        const isSeen = it.matches(":focus-visible") && getComputedStyle(it).outlineStyle !== "none";
        return { text: it.getAttribute("aria-label") ?? it.textContent, isSeen };
      });
      if (!found.text.includes(name)) continue;
      assert.ok(found.isSeen, `the focus is seen on ${name}`);
      return;
    }
    throw new Error(`Tab does not come to ${name}`);
  };
  await page.goto(ann.site.url);
  await page.getByLabel("Your name").waitFor();
  await keyboard.type("ann");
  await keyboard.press("Enter");
  await page.locator(".room-item").first().waitFor();
  await tabTo("lunch");
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: "lunch", level: 1 }).waitFor();
  await until("the field has the focus", () => page.evaluate(() => document.activeElement.matches(".composer textarea")));
  await keyboard.type("first words");
  await keyboard.press("Shift+Enter");
  await keyboard.type("and more");
  await keyboard.press("Enter");
  await keyboard.type("second words");
  await keyboard.press("Enter");
  await ann.shows(["first words\nand more", "second words"]);

  // Back to the messages: Tab comes to the last one, arrows go to others, and keys do what the buttons do.
  await keyboard.press("Shift+Tab");
  for (let step = 0; step < 6 && !(await page.evaluate(() => document.activeElement.matches("[data-message]"))); step += 1) {
    await keyboard.press("Shift+Tab");
  }
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
  assert.match(await focused(), /second words/);
  await keyboard.press("ArrowUp");
  await until("the one above", async () => /first words/.test(await focused()));
  await keyboard.press("l");
  await page.getByRole("button", { name: "1 like, yours among them" }).waitFor();
  await keyboard.press("e");
  await page.getByLabel("Edit the message").waitFor();
  await keyboard.press("Control+a");
  await keyboard.type("other words");
  await keyboard.press("Enter");
  await ann.shows(["other words", "second words"]);
  await until("the focus is back", async () => /other words/.test(await focused()));
  await keyboard.press("Delete");
  await page.getByRole("dialog", { name: "Delete this message?" }).waitFor();
  await keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await until("the focus is back again", async () => /other words/.test(await focused()));

  await keyboard.press("Control+k");
  await page.getByRole("dialog", { name: "Search messages" }).waitFor();
  await keyboard.type("second");
  await page.locator(".found-item").waitFor();
  await keyboard.press("ArrowDown");
  await keyboard.press("Enter");
  await page.locator(".message.is-target", { hasText: "second words" }).waitFor();
  await until("the focus is on what was found", async () => /second words/.test(await focused()));

  await tabTo("What is happening", 40);
  await keyboard.press("Enter");
  await page.getByRole("complementary", { name: "What is happening" }).waitFor();
  await keyboard.press("Tab");
  await until("the switch", () => page.evaluate(() => document.activeElement.matches("[role=switch]")));
  await keyboard.press("Space");
  await ann.connection("Offline");
  await keyboard.press("Space");
  await ann.connection("Connected");
  await keyboard.press("Escape");
  await page.getByRole("complementary").waitFor({ state: "detached" });
  assert.equal(await focused(), "What is happening");
});

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

test("no screen has what axe finds, in light and dark, on a desk and on a phone", TIMEOUT, async (t) => {
  const { server, device } = await chat(t, { rooms: ["lunch", "watch"] });
  const script = await readFile(AXE, "utf8");
  await server.sql("INSERT INTO chat.messages (room, body) VALUES ('lunch', 'hello @ann, see https://example.com')", [], "bob");
  await notify(server);
  const ann = await device();
  const { page } = ann;
  const check = async (what) => {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await page.evaluate(script);
      const found = await page.evaluate(async () => {
        const { violations } = await axe.run({ resultTypes: ["violations"] });
        return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("\n")}`);
      });
      assert.deepEqual(found, [], `${what}, ${colorScheme}`);
    }
  };
  await page.goto(ann.site.url);
  await page.getByLabel("Your name").waitFor();
  await check("sign-in");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Enter a name").waitFor();
  await check("sign-in with an error");
  await page.getByLabel("Your name").fill("ann");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator(".room-item").first().waitFor();
  await check("rooms");
  await ann.enter("watch");
  await ann.connection("Connected");
  await check("an empty room");
  await ann.enter("lunch");
  await ann.say("hello bob");
  await page.locator(".delivery.is-sent").waitFor();
  await ann.message("hello @ann").hover();
  await ann.message("hello @ann").getByRole("button", { name: "Like", exact: true }).click();
  await check("a room");
  await page.getByRole("button", { name: "What is happening" }).click();
  await page.getByRole("switch", { name: "Offline" }).click();
  await ann.say("waits");
  await page.getByText("Tables of chat").first().waitFor();
  await check("the panel, offline");
  const id = await ann.message("waits").getAttribute("data-message");
  await server.sql("INSERT INTO chat.likes (message, room) VALUES ($1, 'lunch')", [id]);
  await page.getByRole("button", { name: "Go online" }).click();
  await page.getByRole("group", { name: "This message was not sent" }).waitFor();
  await check("a message that was refused");
  await page.getByRole("complementary").getByRole("button", { name: "Close" }).click();
  await ann.message("hello bob").hover();
  await ann.message("hello bob").getByRole("button", { name: "Edit" }).click();
  await check("the editor");
  await page.keyboard.press("Escape");
  await ann.message("hello bob").getByRole("button", { name: "Delete" }).click();
  await check("the question before deleting");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+k");
  await page.getByRole("searchbox", { name: "Search messages" }).fill("hello");
  await page.locator(".found-item").first().waitFor();
  await check("search");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Mentions" }).click();
  await check("mentions");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "New room" }).click();
  await check("new room");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Settings" }).click();
  await check("settings");
  await page.getByRole("button", { name: "Sign out" }).click();
  await check("signing out");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.setViewportSize({ width: 360, height: 740 });
  await check("a room on a phone");
  await page.getByRole("button", { name: "Back to the rooms" }).click();
  await check("rooms on a phone");
});

const IMAGES = fileURLToPath(new URL("../../../docs/images", import.meta.url));

test("pictures of it", { ...TIMEOUT, skip: process.env.TIDEWIRE_SCREENSHOTS !== "1" && "only with TIDEWIRE_SCREENSHOTS=1" }, async (t) => {
  const { server, device } = await chat(t, { rooms: ["Harbour watch", "Lunch", "Boat repairs", "Tide tables", "Weekend sailing"] });
  // It is half past ten in the morning where the pictures are taken.
  const now = Date.now();
  const hours = 10 - new Date(now).getUTCHours();
  const timezoneId = `Etc/GMT${hours > 0 ? "-" : "+"}${Math.abs(hours)}`;
  for (const [minutes, room, author, body, likes = 0] of CONVERSATION) {
    const id = randomUUID();
    const at = (now - minutes * 60_000) * 1_000;
    await server.sql("INSERT INTO chat.messages (id, room, body, at) VALUES ($1, $2, $3, $4)", [id, room, body, at], author);
    await server.sql("INSERT INTO chat.likes (message, room, n) VALUES ($1, $2, $3)", [id, room, likes], author);
  }
  await notify(server);
  const mara = await device();
  const { page } = mara;
  const emulation = await page.context().newCDPSession(page);
  await emulation.send("Emulation.setTimezoneOverride", { timezoneId });
  await emulation.send("Emulation.setLocaleOverride", { locale: "en-GB" });
  await mkdir(IMAGES, { recursive: true });
  const shoot = async (name, size, colorScheme) => {
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme });
    await page.mouse.move(0, 0);
    await page.waitForTimeout(300);
    await page.screenshot({ path: join(IMAGES, `chat-${name}.png`) });
  };
  const [desk, phone] = [{ width: 1280, height: 800 }, { width: 390, height: 844 }];
  await mara.signIn("mara");
  await mara.connection("Connected").catch(() => undefined);
  await page.locator(".room-item", { hasText: "Harbour watch" }).waitFor();
  await shoot("rooms-phone", phone, "light");
  await page.setViewportSize(desk);
  await mara.enter("Harbour watch");
  await mara.connection("Connected");
  // Others are here, too.
  for (const user of ["jonas-b", "ines"]) {
    await server.sql("INSERT INTO chat.presence (room, at) VALUES ('Harbour watch', NOW())", [], user);
  }
  await mara.say("I will take the early shift then. Coffee is on me ☕");
  await page.locator(".delivery.is-sent").last().waitFor();
  const types = () => server.sql("INSERT INTO chat.typing (room, at) VALUES ('Harbour watch', NOW()) ON CONFLICT (room, author) DO UPDATE SET at = NOW()", [], "jonas-b");
  await types();
  await page.getByText("jonas-b is typing").waitFor();
  await shoot("light", desk, "light");
  await types();
  await shoot("dark", desk, "dark");
  await page.evaluate(() => document.activeElement.blur());
  await shoot("phone", phone, "light");
  await shoot("phone-dark", phone, "dark");
  await page.setViewportSize(desk);
  await page.getByRole("button", { name: "What is happening" }).click();
  mara.proxy.cut();
  await mara.connection("Offline");
  await mara.say("Lost the signal behind the breakwater.");
  await mara.say("Two containers adrift at 54.18 N, 12.09 E. Will report when I am back.");
  await page.waitForTimeout(1_500);
  await shoot("offline", desk, "light");
  await page.getByRole("complementary").getByRole("button", { name: "Close" }).click();
  await page.keyboard.press("Control+k");
  await page.getByRole("searchbox", { name: "Search messages" }).fill("pump");
  await page.locator(".found-item").first().waitFor();
  await shoot("search", desk, "dark");
});

/** How many minutes ago, where, who, what, and how many like it. */
const CONVERSATION = [
  [2_900, "Tide tables", "tom", "New tables for December are in the drive."],
  [1_530, "Weekend sailing", "ines", "Saturday looks perfect: 4 Beaufort from the west, no rain.", 3],
  [1_490, "Boat repairs", "okko", "The bilge pump of the Möwe is fixed. It was only the float switch."],
  [1_485, "Harbour watch", "tom", "Night shift is over, all quiet. The log is up to date."],
  [185, "Boat repairs", "okko", "@mara can you sign it off tomorrow?"],
  [64, "Harbour watch", "ines", "Good morning! The pilot boat goes out at 11:40 today, twenty minutes earlier than planned."],
  [63, "Harbour watch", "ines", "The Nordstern has asked for berth 4."],
  [58, "Harbour watch", "mara", "Berth 4 is free from 11:15. I have told the crane crew."],
  [41, "Harbour watch", "jonas-b", "Careful, there is fog on the river. I can hardly see the red buoy from here.", 2],
  [39, "Harbour watch", "okko", "Radar has it. We keep the horn on until it lifts. The spare pump is on deck, if somebody needs it."],
  [22, "Lunch", "jonas-b", "Fish soup at the pier today?"],
  [20, "Lunch", "okko", "Always."],
  [12, "Harbour watch", "ines", "Thank you @mara, that saves us an hour!", 4],
  [3, "Harbour watch", "jonas-b", "Who is on the early shift tomorrow? I have to bring my daughter to school, so I would come at eight."],
];
