// The web chat of `examples/chat/web`, as it is built, with the real server.
import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "./support/browser.mjs";
import { chat, notify } from "./support/chat.mjs";
import { Device } from "./support/device.mjs";
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
  await ann.page.getByRole("searchbox", { name: "Search messages" }).fill("mine are");
  await ann.page.locator(".found-item", { hasText: "mine are here" }).waitFor();
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

test("two devices of one user have the same drafts, settings and marks", TIMEOUT, async (t) => {
  const { server, device } = await chat(t, { rooms: ["lunch", "watch"] });
  await server.sql("INSERT INTO chat.messages (room, body) VALUES ('watch', 'a ship')", [], "bob");
  const [one, other] = [await device(), await device()];
  for (const it of [one, other]) {
    await it.signIn("ann");
    await it.enter("lunch");
    await it.connection("Connected");
  }
  await one.field.fill("not said yet");
  await until("the draft", async () => (await other.field.inputValue()) === "not said yet");
  // Who goes on with it on the other device takes it along.
  await other.field.fill("not said yet, and more");
  await until("the draft goes back", async () => (await one.field.inputValue()) === "not said yet, and more");
  await other.field.press("Enter");
  await one.sees("not said yet, and more");
  await until("it is said", async () => (await one.field.inputValue()) === "");

  const unread = other.page.locator(".room-item", { hasText: "watch" }).getByText("1 unread");
  await unread.waitFor();
  await one.enter("watch");
  await unread.waitFor({ state: "detached" });

  await one.page.getByRole("button", { name: "Settings" }).click();
  await one.page.getByText("Dark").click();
  for (const { page } of [one, other]) {
    await until("the theme", () => page.evaluate(() => document.documentElement.dataset.theme === "dark"));
  }
  const ground = () => other.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(await ground(), "rgb(10, 17, 21)");
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

test("the app can be installed, and a new version of it waits until the user wants it", TIMEOUT, async (t) => {
  const { device } = await chat(t);
  const ann = await device();
  await ann.signIn("ann");
  await until("the shell", () => ann.page.evaluate(() => navigator.serviceWorker.controller !== null));
  const browser = await ann.page.context().newCDPSession(ann.page);
  assert.deepEqual((await browser.send("Page.getInstallabilityErrors")).installabilityErrors, []);
  const { errors } = await browser.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
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

test("while the worker of one page of the app does not answer, another page goes on", TIMEOUT, async (t) => {
  const { device } = await chat(t, { rooms: ["lunch"] });
  const [ann, bob] = [await device(), await device()];
  await ann.signIn("ann");
  await bob.signIn("bob");
  for (const it of [ann, bob]) await it.enter("lunch");
  await ann.say("hello bob");
  await bob.sees("hello bob");
  const other = new Device(await ann.browser.page());
  await other.page.goto(ann.site.url);
  await other.enter("lunch");
  await other.sees("hello bob");
  // Its worker alone: in the process of the page is also the service worker, by which the other one asks for tokens.
  const busy = ann.page.workers()[0].evaluate(() => {
    const end = performance.now() + 100_000;
    while (performance.now() < end);
  });
  let isBusy = true;
  busy.catch(() => undefined).then(() => (isBusy = false));
  await bob.say("are you there?");
  await other.sees("are you there?");
  await other.say("here I am");
  await bob.sees("here I am");
  await other.message("are you there?").hover();
  await other.message("are you there?").getByRole("button", { name: "Like", exact: true }).click();
  await bob.page.getByRole("button", { name: "1 like" }).waitFor();
  assert.ok(isBusy);
  await ann.page.close();
  await bob.say("so you are");
  for (const said of ["hello bob", "are you there?", "here I am", "so you are"]) await other.sees(said);
  await other.say("and with all of it");
  await bob.sees("and with all of it");
});
