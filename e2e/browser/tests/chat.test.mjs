// The web chat of `examples/chat/web`, as it is built, with the real server.
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

test("two people chat: what one does, the other sees", TIMEOUT, async (t) => {
  const { server, device } = await chat(t, { rooms: ["lunch", "watch"] });
  const [ann, bob] = [await device(), await device()];
  await ann.signIn("ann");
  await bob.signIn("bob");
  await ann.enter("lunch");
  await bob.enter("lunch");
  await ann.connection("Connected");
  await bob.connection("Connected");
  await ann.page.getByText("1 other is here").waitFor();

  await bob.field.pressSequentially("hello a");
  await ann.page.getByText("bob is typing").waitFor();
  await bob.field.fill("");
  await bob.say("hello ann");
  await ann.sees("hello ann");
  await ann.page.getByText("bob is typing").waitFor({ state: "detached" });
  await bob.page.locator(".delivery.is-sent").waitFor();
  await until("the announcement", async () => (await ann.page.locator("[role=log]").textContent()) === "bob: hello ann");

  // Each likes it once, and both count.
  for (const { page } of [ann, bob]) {
    await page.locator("[data-message]").hover();
    await page.getByRole("button", { name: "Like", exact: true }).click();
  }
  for (const { page } of [ann, bob]) await page.getByRole("button", { name: "2 likes, yours among them" }).waitFor();
  await ann.page.getByRole("button", { name: "2 likes" }).click();
  await bob.page.getByRole("button", { name: "1 like" }).waitFor();

  await bob.page.locator("[data-message]").hover();
  await bob.page.getByRole("button", { name: "Edit", exact: true }).click();
  await bob.page.getByLabel("Edit the message").fill("hello @ann");
  await bob.page.getByRole("button", { name: "Save" }).click();
  await ann.sees("hello @ann");
  await ann.page.locator(".message-foot", { hasText: "edited" }).waitFor();
  await notify(server);
  await ann.page.getByRole("button", { name: "Mentions" }).click();
  await ann.page.getByRole("dialog", { name: "Mentions" }).getByText("hello @ann").click();
  await ann.page.locator(".message.is-target", { hasText: "hello @ann" }).waitFor();

  // What is said elsewhere counts as unread, until it is seen.
  await bob.enter("watch");
  await bob.say("a ship");
  await bob.say("and a second one");
  const item = ann.page.locator(".room-item", { hasText: "watch" });
  await item.getByText("2 unread").waitFor();
  assert.equal(await ann.page.title(), "(2) lunch · Tidewire Chat");
  await item.click();
  await ann.sees("and a second one");
  await until("the mark", async () => (await server.rows("SELECT room FROM chat.read_marks WHERE room = 'watch'", "ann")).length === 1);
  await ann.page.locator(".line.is-new").waitFor({ state: "detached" });
  await ann.enter("lunch");
  await until("nothing unread", async () => (await item.getByText("unread").count()) === 0);

  await bob.say("it turns");
  await item.getByText("1 unread").waitFor();
  await item.click();
  await ann.page.locator(".line.is-new + .message", { hasText: "it turns" }).waitFor();
  await ann.enter("lunch");

  await bob.enter("lunch");
  await bob.message("hello @ann").hover();
  await bob.page.getByRole("button", { name: "Delete" }).click();
  await bob.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await ann.page.getByText("Nothing was said here yet").waitFor();
  await until("no message, and no likes of it", async () => {
    const [messages, likes] = [await server.rows("SELECT id FROM chat.messages WHERE room = 'lunch'"), await server.rows("SELECT n FROM chat.likes WHERE room = 'lunch'")];
    return messages.length === 0 && likes.length === 0;
  });
});

test("without a network the app opens, shows everything and takes what is written; with one, both have the server's order", TIMEOUT, async (t) => {
  const { server, device } = await chat(t, { rooms: ["lunch"] });
  const [ann, bob] = [await device(), await device()];
  ann.browser.allow(/net::ERR_/);
  await ann.signIn("ann");
  await bob.signIn("bob");
  await ann.enter("lunch");
  await bob.enter("lunch");
  await ann.say("before");
  await bob.sees("before");
  await ann.page.locator(".delivery.is-sent").waitFor();
  await ann.page.evaluate(() => navigator.serviceWorker.ready);
  await until("the shell", () => ann.page.evaluate(() => navigator.serviceWorker.controller !== null));

  await ann.cutNetwork();
  await ann.connection("Offline");
  for (const text of ["one of ann", "two of ann"]) await ann.say(text);
  await ann.message("before").hover();
  await ann.message("before").getByRole("button", { name: "Like", exact: true }).click();
  await bob.message("before").hover();
  await bob.message("before").getByRole("button", { name: "Like", exact: true }).click();
  for (const text of ["one of bob", "two of bob"]) await bob.say(text);
  // Both make a room of the same name.
  for (const { page } of [ann, bob]) {
    await page.getByRole("button", { name: "New room" }).click();
    await page.getByRole("dialog").getByLabel("Name").fill("boats");
    await page.getByRole("button", { name: "Make it" }).click();
    await page.getByRole("heading", { name: "boats", level: 1 }).waitFor();
  }
  await ann.say("mine are here");
  await ann.enter("lunch");
  await bob.enter("lunch");
  await ann.field.fill("a draft");
  await ann.page.waitForTimeout(600);

  await ann.page.reload();
  await ann.shows(["before", "one of ann", "two of ann"]);
  await ann.connection("Offline");
  assert.equal(await ann.page.locator(".delivery.is-waiting").count(), 2);
  await ann.page.getByText(/You are offline, and can go on\..* \d changes will be sent later/).waitFor();
  assert.equal(await ann.field.inputValue(), "a draft");
  await ann.page.getByRole("button", { name: "1 like, yours among them" }).waitFor();
  await ann.page.keyboard.press("Control+k");
  await ann.page.getByRole("searchbox", { name: "Search messages" }).fill("bef");
  await ann.page.locator(".found-piece mark", { hasText: "before" }).waitFor();
  await ann.page.keyboard.press("Escape");

  await ann.restoreNetwork();
  await ann.connection("Connected");
  const expected = ["before", "one of bob", "two of bob", "one of ann", "two of ann"];
  await ann.shows(expected);
  await bob.shows(expected);
  await bob.page.getByRole("button", { name: "2 likes, yours among them" }).waitFor();
  assert.equal(await ann.page.locator(".delivery.is-waiting").count(), 0);
  const rows = await server.rows("SELECT body FROM chat.messages WHERE room = 'lunch'");
  assert.deepEqual(rows.map(([body]) => body).sort(), [...expected].sort());
  const likes = await server.rows("SELECT n FROM chat.likes WHERE room = 'lunch'");
  assert.deepEqual(likes.map(([n]) => Number(n)).sort(), [0, 0, 0, 0, 2]);
  // There is one room of that name, and nobody has to do anything about it.
  await bob.enter("boats");
  await bob.sees("mine are here");
  assert.equal(await ann.page.locator(".failure").count(), 0);
  assert.deepEqual(await server.rows("SELECT founder FROM chat.rooms WHERE name = 'boats'"), [["bob"]]);
});

test("what the server refuses is shown with the reason, and can be tried again or discarded", TIMEOUT, async (t) => {
  const { server, device } = await chat(t, { rooms: ["lunch"] });
  const ann = await device();
  await ann.signIn("ann");
  await ann.enter("lunch");
  await ann.connection("Connected");
  await ann.page.getByRole("button", { name: "What is happening" }).click();
  const panel = ann.page.getByRole("complementary", { name: "What is happening" });
  await panel.getByRole("button", { name: "Compare this room" }).click();
  await panel.getByText("The same as on the server.").waitFor();
  await panel.getByRole("switch", { name: "Offline" }).click();
  await ann.connection("Offline");
  await ann.say("first");
  await ann.say("second");
  await panel.getByText("2 writes").waitFor();
  // Somebody has a row of that key: the server cannot take the messages.
  const ids = await ann.page.locator("[data-message]").evaluateAll((items) => items.map((item) => item.dataset.message));
  for (const id of ids) await server.sql("INSERT INTO chat.likes (message, room) VALUES ($1, 'other')", [id]);
  await ann.page.getByRole("button", { name: "Go online" }).click();
  const cards = ann.page.getByRole("group", { name: "This message was not sent" });
  await until("both are refused", async () => (await cards.count()) === 2);
  await cards.first().getByText("The server says:").waitFor();
  assert.deepEqual(await ann.texts(), []);
  await ann.page.locator(".room-item").getByText("2 not sent").waitFor();

  await ann.page.reload();
  await until("both are still there", async () => (await cards.count()) === 2);
  await cards.filter({ hasText: "second" }).getByRole("button", { name: "Discard" }).click();
  await server.sql("DELETE FROM chat.likes WHERE room = 'other'");
  await cards.filter({ hasText: "first" }).getByRole("button", { name: "Try again" }).click();
  await ann.shows(["first"]);
  await ann.page.locator(".delivery.is-sent").waitFor();
  assert.equal(await cards.count(), 0);
});

test("a session that ends is shown, and is begun again; one that cannot be renewed is no reason to stop", TIMEOUT, async (t) => {
  const { device } = await chat(t, { rooms: ["lunch"] });
  const ann = await device();
  ann.browser.allow(/net::ERR_|status of 401/);
  await ann.signIn("ann");
  await ann.enter("lunch");
  await ann.connection("Connected");

  ann.site.isSigningIn = false;
  ann.proxy.cut();
  await ann.connection("Offline");
  ann.proxy.open();
  await ann.page.evaluate(() => dispatchEvent(new Event("online")));
  await ann.page.getByText("Your session is renewed as soon as sign-in can be reached").waitFor();
  await ann.say("meanwhile");
  await ann.page.locator(".delivery.is-waiting").waitFor();
  ann.site.isSigningIn = true;
  ann.site.endSessions();
  await ann.page.evaluate(() => dispatchEvent(new Event("online")));
  await ann.page.getByText("Your session has ended").waitFor();
  await ann.page.getByRole("button", { name: "Sign in again" }).click();
  const dialog = ann.page.getByRole("dialog", { name: "Sign in again" });
  assert.equal(await dialog.getByLabel("Your name").inputValue(), "ann");
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await ann.connection("Connected");
  await ann.page.locator(".delivery.is-sent").waitFor();
});

test("who signs out leaves nothing, or what they want to leave; an address can say who signs in", TIMEOUT, async (t) => {
  const { device } = await chat(t, { rooms: ["lunch"] });
  const ann = await device();
  const { page } = ann;
  ann.browser.allow(/net::ERR_/);
  await ann.signIn("ann");
  await ann.enter("lunch");
  await ann.connection("Connected");
  ann.proxy.cut();
  await ann.connection("Offline");
  await ann.say("not sent");
  const signOut = async (how) => {
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("button", { name: how, exact: true }).click();
  };
  await signOut("Keep");
  await page.getByLabel("Your name").waitFor();
  await ann.signIn("ann");
  await ann.enter("lunch");
  await ann.shows(["not sent"]);
  await signOut("Remove");
  await page.getByText("Press Remove once more to lose them").waitFor();
  await page.getByRole("button", { name: "Remove, and lose them" }).click();
  await page.getByLabel("Your name").waitFor();
  ann.proxy.open();
  await page.goto(`${ann.site.url}?as=ann`);
  await ann.enter("lunch");
  await page.getByText("Nothing was said here yet").waitFor();
});

test("a new version of the app waits until the user wants it", TIMEOUT, async (t) => {
  const { device } = await chat(t);
  const ann = await device();
  await ann.signIn("ann");
  await until("the shell", () => ann.page.evaluate(() => navigator.serviceWorker.controller !== null));
  const caches = () => ann.page.evaluate(() => globalThis.caches.keys());
  const [before] = await caches();
  ann.site.isNewer = true;
  await ann.page.reload();
  await ann.page.getByText("There is a new version of the chat.").waitFor();
  assert.equal((await caches()).length, 2);
  await ann.page.getByRole("button", { name: "Load it" }).click();
  await until("the new one alone", async () => {
    const names = await caches().catch(() => []);
    return names.length === 1 && names[0] !== before;
  });
  await ann.page.getByRole("navigation", { name: "Rooms" }).waitFor();
  assert.equal(await ann.page.getByText("There is a new version").count(), 0);
});

test("the history goes back as far as one scrolls, and a message that was found is shown", TIMEOUT, async (t) => {
  const { server, device } = await chat(t, { rooms: ["lunch"] });
  for (let n = 1; n <= 130; n += 1) {
    await server.sql("INSERT INTO chat.messages (room, body) VALUES ('lunch', $1)", [`number ${n} of many`], "bob");
  }
  const ann = await device();
  await ann.signIn("ann");
  await ann.enter("lunch");
  await ann.sees("number 130 of many");
  assert.equal((await ann.texts()).length, 50);
  const timeline = ann.page.locator(".timeline");
  const top = () => timeline.evaluate((it) => it.scrollTo({ top: 0 }));
  await top();
  await until("100", async () => (await ann.texts()).length === 100);
  // What was read has stayed where it was.
  assert.ok(await timeline.evaluate((it) => it.scrollTop > 1_000));
  await top();
  await until("all", async () => (await ann.texts()).length === 130);
  const texts = await ann.texts();
  assert.deepEqual(texts, Array.from({ length: 130 }, (_, at) => `number ${at + 1} of many`));
  await top();
  await ann.page.getByText("This is where the room begins.").waitFor();

  await ann.page.reload();
  await ann.sees("number 130 of many");
  await ann.page.keyboard.press("Control+k");
  await ann.page.getByRole("searchbox", { name: "Search messages" }).fill("number 7");
  await ann.page.locator(".found-item", { hasText: "number 7 of" }).click();
  await ann.page.locator(".message.is-target", { hasText: "number 7 of many" }).waitFor();
});

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
