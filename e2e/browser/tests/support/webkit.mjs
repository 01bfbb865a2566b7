// WebKit: the browser of the WebKitGTK port, on a screen that nobody sees, by WebDriver over HTTP.
//
// Three things are less here than in other browsers. When a driver is at the wheel, WebKitGTK keeps a profile in memory
// only: what was stored is there after a reload, and gone after a restart. `navigator.storage` is not there, so there are
// no files (OPFS). And it tells no driver what a page writes to its console, so the driver listens in the page itself:
// it hears neither what a page says while it loads nor what a worker writes.
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";

import { until } from "./browser.mjs";
import { callIn, Engine, Processes, read } from "./engines.mjs";

const DRIVER = "/usr/bin/WebKitWebDriver";
const SCREEN = "/usr/bin/xvfb-run";
const LIBRARIES = "/usr/lib";
const LOOK_EVERY_MS_MAX = 50;

/** A profile, and the browsers that are open on it one after the other. */
export class WebKit extends Engine {
  #session;
  #pages = new Set();

  static missing() {
    const missing = [];
    if (!existsSync(DRIVER) || !miniBrowser()) missing.push("webkit2gtk-driver");
    if (!existsSync(SCREEN)) missing.push("xvfb");
    return missing.length > 0 ? missing.join(" and ") : null;
  }

  async launch() {
    const port = await freePort();
    this.processes = new Processes(SCREEN, ["-a", DRIVER, `--port=${port}`], {
      // The sandbox cannot be made by root, as whom tests run in containers.
      ...(process.getuid() === 0 ? { WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1" } : {}),
      // It would start services that outlive it.
      NO_AT_BRIDGE: "1",
      GTK_A11Y: "none",
      LIBGL_ALWAYS_SOFTWARE: "1",
      XDG_DATA_HOME: join(this.profile, "data"),
      XDG_CACHE_HOME: join(this.profile, "cache"),
      XDG_CONFIG_HOME: join(this.profile, "config"),
    });
    const { processes } = this;
    const driver = `http://127.0.0.1:${port}`;
    await until("the driver of WebKit", async () => {
      if (processes.hasEnded) throw new Error(`the driver has ended:\n${processes.log.join("\n")}`);
      return await fetch(`${driver}/status`).then((answer) => answer.ok, () => false);
    });
    const options = { binary: miniBrowser(), args: ["--automation"] };
    this.#session = await Session.at(driver, { alwaysMatch: { "webkitgtk:browserOptions": options } });
  }

  /** An empty page. */
  async page() {
    // A window and no tab: of those all but one are hidden, and have slow timers.
    const { handle } = await this.#session.ask("POST", "/window/new", { type: "window" });
    const page = new Page(this.#session.window(handle), (text) => this.complain(text), () => this.#pages.delete(page));
    this.#pages.add(page);
    return page;
  }

  main() {
    const found = this.processes.list().find(({ args }) => args.startsWith(miniBrowser()));
    if (!found) throw new Error("there is no browser with this profile");
    return found.id;
  }

  async kill() {
    const driver = this.processes.list().find(({ args }) => args.startsWith(DRIVER));
    process.kill(this.main(), "SIGKILL");
    // Without its driver, the screen goes too and takes its files along.
    if (driver) process.kill(driver.id, "SIGTERM");
    await this.processes.gone();
    this.processes = undefined;
    this.#pages.clear();
  }

  async remove() {
    for (const page of this.#pages) await page.listen().catch(() => undefined);
    const isComplete = this.processes?.list().some(({ args }) => args.startsWith(miniBrowser()));
    if (this.processes && !isComplete) {
      // It has not come as far as a browser.
      this.processes.end();
      await this.processes.gone();
    }
    await super.remove();
  }
}

class Page {
  #window;
  #complain;
  #closed;
  #calls = 0;

  constructor(window, complain, closed) {
    this.#window = window;
    this.#complain = complain;
    this.#closed = closed;
  }

  async goto(url) {
    await this.listen();
    await this.#window("POST", "/url", { url });
    await this.listen();
  }

  async reload() {
    await this.listen();
    await this.#window("POST", "/refresh", {});
    await this.listen();
  }

  async close() {
    await this.listen();
    this.#closed();
    await this.#window("DELETE", "/window");
  }

  /**
   * Calls a function there, and gives what its promise gives. It is looked after again and again: a call that waits
   * in the driver would let no other page do anything.
   */
  async evaluate(fn, argument) {
    const call = (this.#calls += 1);
    await this.#run(`
      globalThis.tidewireCalls ??= new Map();
      tidewireCalls.set(${call}, undefined);
      (${callIn(fn, argument)})().then((text) => tidewireCalls.set(${call}, text));`);
    for (let wait = 1; ; wait = Math.min(2 * wait, LOOK_EVERY_MS_MAX)) {
      const [isThere, text] = await this.#run(`
        const isThere = globalThis.tidewireCalls?.has(${call}) === true;
        const text = isThere ? tidewireCalls.get(${call}) : undefined;
        if (text !== undefined) tidewireCalls.delete(${call});
        return [isThere, text ?? null];`);
      if (!isThere) throw new Error("the page was left while a function ran in it");
      if (text !== null) {
        await this.listen();
        return read(text);
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  /** Hears what the page has complained of, and from now on all of it. */
  async listen() {
    const heard = await this.#run(`(${hear})(); return tidewireComplaints.splice(0);`);
    for (const text of heard) this.#complain(text);
  }

  async #run(script) {
    return await this.#window("POST", "/execute/sync", { script, args: [] });
  }
}

/** It runs in the page, on its own. */
function hear() {
  if (globalThis.tidewireComplaints) return;
  const heard = (globalThis.tidewireComplaints = []);
  for (const level of ["error", "warn"]) {
    const write = console[level];
    console[level] = (...values) => {
      heard.push(values.map(String).join(" "));
      write.apply(console, values);
    };
  }
  addEventListener("error", ({ error, message }) => heard.push(error ? `${error}\n${error.stack}` : message));
  addEventListener("unhandledrejection", ({ reason }) => heard.push(`Unhandled rejection: ${reason}`));
  addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
    heard.push(`Content security policy: ${violatedDirective} ${blockedURI}`));
}

/** What the driver is asked, one thing after the other: it works on one window at a time. */
class Session {
  #url;
  #before = Promise.resolve();

  static async at(driver, capabilities) {
    const session = new Session();
    const { sessionId } = await request("POST", `${driver}/session`, { capabilities });
    session.#url = `${driver}/session/${sessionId}`;
    return session;
  }

  async ask(method, path, body) {
    return await this.#next(() => request(method, `${this.#url}${path}`, body));
  }

  /** What asks in this window. */
  window(handle) {
    return (method, path, body) =>
      this.#next(async () => {
        await request("POST", `${this.#url}/window`, { handle });
        return await request(method, `${this.#url}${path}`, body);
      });
  }

  #next(run) {
    const done = this.#before.then(run);
    this.#before = done.catch(() => undefined);
    return done;
  }
}

async function request(method, url, body) {
  const answer = await fetch(url, { method, body: body && JSON.stringify(body) });
  const { value } = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${new URL(url).pathname}: ${value.error}: ${value.message}`);
  return value;
}

/** The browser that comes with the library, in the folder of the architecture. */
function miniBrowser() {
  const folders = readdirSync(LIBRARIES).map((folder) => join(LIBRARIES, folder, "webkit2gtk-4.1/MiniBrowser"));
  return folders.find((path) => existsSync(path));
}

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}
