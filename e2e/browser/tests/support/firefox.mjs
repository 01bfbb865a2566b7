// Firefox, with a profile of its own, by WebDriver BiDi: JSON over a WebSocket, which Firefox serves itself.
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import { until } from "./browser.mjs";
import { callIn, Engine, Processes, read } from "./engines.mjs";

const LISTENS = /^WebDriver BiDi listening on (ws:\S+)$/;

const PREFERENCES = {
  // A browser that was killed would ask whether to start in safe mode, or open what was open.
  "toolkit.startup.max_resumed_crashes": -1,
  "browser.sessionstore.resume_from_crash": false,
  // A page behind another one has timers as that has: tests wait for pages that nobody looks at.
  "dom.min_background_timeout_value": 4,
  "dom.timeout.enable_budget_timer_throttling": false,
  // Nothing of this is for the tests, and each costs processes or asks the network.
  "dom.ipc.processPrelaunch.enabled": false,
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.newtabpage.enabled": false,
  "browser.safebrowsing.update.enabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,#none",
  "toolkit.telemetry.enabled": false,
};

/** A profile, and the Firefoxes that are open on it one after the other. */
export class Firefox extends Engine {
  #connection;
  /** By the name of their browsing context. */
  #pages = new Map();

  static missing() {
    return existsSync(program()) ? null : "firefox-esr";
  }

  constructor() {
    super();
    // That there is no connection is no defect, and Firefox says so each time.
    this.allow(/can.t establish a connection to the server at ws:|The connection to ws:\S* was interrupted/);
  }

  async launch() {
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});\n`);
    await writeFile(join(this.profile, "user.js"), lines.join(""));
    const args = ["--headless", "--no-remote", "--profile", this.profile, "--remote-debugging-port=0"];
    // The helper that reports crashes leaves the session of its browser.
    this.processes = new Processes(program(), args, { MOZ_CRASHREPORTER_DISABLE: "1" });
    const { processes } = this;
    const address = await until("the port of Firefox", () => {
      if (processes.hasEnded) throw new Error(`Firefox has ended:\n${processes.log.join("\n")}`);
      return processes.log.map((line) => LISTENS.exec(line)?.[1]).find(Boolean);
    });
    this.#connection = await Connection.to(`${address}/session`);
    this.#connection.onEvent("log.entryAdded", (entry) => {
      // Firefox itself writes there too, of what no test is about.
      const isOfPage = this.#pages.has(entry.source.context);
      if (isOfPage && ["error", "warn"].includes(entry.level)) this.complain(entry.text ?? entry.type);
    });
    const leave = ({ context }) => this.#pages.get(context)?.leave();
    this.#connection.onEvent("browsingContext.navigationCommitted", leave);
    this.#connection.onEvent("browsingContext.contextDestroyed", leave);
    await this.#connection.ask("session.new", { capabilities: {} });
    await this.#connection.ask("session.subscribe", { events: this.#connection.events });
  }

  /** An empty page. */
  async page() {
    // A window and no tab: of those all but one are hidden.
    const { context } = await this.#connection.ask("browsingContext.create", { type: "window" });
    const page = new Page(this.#connection, context);
    this.#pages.set(context, page);
    return page;
  }

  main() {
    return this.processes.id;
  }
}

class Page {
  #connection;
  #context;
  /** What ends the calls that run there. */
  #calls = new Set();

  constructor(connection, context) {
    this.#connection = connection;
    this.#context = context;
  }

  async goto(url) {
    await this.#ask("browsingContext.navigate", { url, wait: "complete" });
  }

  async reload() {
    await this.#ask("browsingContext.reload", { wait: "complete" });
  }

  async close() {
    await this.#ask("browsingContext.close", {});
  }

  /** Calls a function there, and gives what its promise gives. */
  async evaluate(fn, argument) {
    let end;
    const left = new Promise((_, reject) => (end = reject));
    const called = this.#connection.ask("script.callFunction", {
      functionDeclaration: callIn(fn, argument),
      target: { context: this.#context },
      awaitPromise: true,
    });
    this.#calls.add(end);
    const { type, result, exceptionDetails } = await Promise.race([called, left]).finally(() => this.#calls.delete(end));
    // Only of a source that cannot be read.
    if (type === "exception") throw new Error(exceptionDetails.text);
    return read(result.value);
  }

  /** It is another document from now on, or none. Firefox never answers what was asked of the one before. */
  leave() {
    for (const end of this.#calls) end(new Error("the page was left while a function ran in it"));
  }

  async #ask(method, params) {
    return await this.#connection.ask(method, { context: this.#context, ...params });
  }
}

/** Questions and their answers, in any order, and events. */
class Connection {
  #socket;
  #asked = 0;
  #waiting = new Map();
  #listeners = new Map();

  static async to(url) {
    const connection = new Connection();
    const socket = (connection.#socket = new (webSocket())(url));
    socket.on("message", (text) => connection.#read(JSON.parse(text)));
    await new Promise((resolve, reject) => {
      socket.on("open", resolve);
      socket.on("error", reject);
    });
    socket.on("close", () => {
      for (const { reject } of connection.#waiting.values()) reject(new Error("Firefox has ended"));
      connection.#waiting.clear();
    });
    return connection;
  }

  /** Their names. */
  get events() {
    return [...this.#listeners.keys()];
  }

  onEvent(name, listener) {
    this.#listeners.set(name, listener);
  }

  async ask(method, params) {
    const id = (this.#asked += 1);
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, method });
      this.#socket.send(JSON.stringify({ id, method, params }), (error) => {
        if (error) reject(error);
      });
    });
  }

  #read({ type, id, result, error, message, method, params }) {
    if (type === "event") {
      this.#listeners.get(method)?.(params);
      return;
    }
    const asked = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (type === "success") asked?.resolve(result);
    else asked?.reject(new Error(`${asked.method}: ${error}: ${message}`));
  }
}

function program() {
  return process.env.TIDEWIRE_FIREFOX ?? "/usr/bin/firefox-esr";
}

/** Node 20 has none: this is the one that the package itself uses there. */
function webSocket() {
  return createRequire(new URL("../../../../packages/client/package.json", import.meta.url))("ws");
}
