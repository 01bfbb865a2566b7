// Chromium, with a profile of its own.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

const ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const GONE_WITHIN_MS = 10_000;

/** A profile, and the browsers that are open on it one after the other. */
export class Browser {
  #profile;
  #context;
  #allowed = [];
  /** What pages complained of and nobody has expected. */
  complaints = [];

  static async start() {
    const browser = new Browser();
    browser.#profile = await mkdtemp(join(tmpdir(), "tidewire-browser-profile-"));
    await browser.start();
    return browser;
  }

  /** Starts it again with the same profile. */
  async start() {
    this.#context = await chromium.launchPersistentContext(this.#profile, {
      executablePath: process.env.TIDEWIRE_CHROMIUM ?? "/usr/bin/chromium",
      args: ARGS,
      chromiumSandbox: false,
    });
  }

  /** Complaints that are like this are expected. */
  allow(pattern) {
    this.#allowed.push(pattern);
  }

  /** A page at this address, whose scripts have run. */
  async open(url) {
    const page = await this.page();
    await page.goto(url);
    await ready(page);
    return page;
  }

  /** An empty page. What it writes to its console is told. */
  async page(onConsole = () => undefined) {
    const page = await this.#context.newPage();
    page.on("console", (message) => {
      onConsole(message);
      if (["error", "warning"].includes(message.type())) this.#complain(message.text());
    });
    page.on("pageerror", (error) => this.#complain(error.stack ?? String(error)));
    page.on("crash", () => this.#complain("the page has crashed"));
    return page;
  }

  /** The process of a page, with its workers: it can be stopped where it stands, go on, be killed and weighed. */
  async processOf(page) {
    const id = await this.#rendererOf(page);
    const signal = (name) => {
      // It may have ended.
      if (this.#processes().some((it) => it.id === id)) process.kill(id, name);
    };
    return {
      stop: () => signal("SIGSTOP"),
      goOn: () => signal("SIGCONT"),
      kill: () => signal("SIGKILL"),
      /** What is resident of it, in MiB. */
      memory: () => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${id}/status`, "utf8"))?.[1]) / 1_024,
    };
  }

  /** Ends it as somebody does who closes its window. */
  async stop() {
    await this.#context.close();
  }

  /** Ends it as a power cut does. */
  async kill() {
    const closed = once(this.#context, "close", { signal: AbortSignal.timeout(GONE_WITHIN_MS) });
    process.kill(this.#mainProcess(), "SIGKILL");
    await closed;
    // Its helpers notice by themselves, but for those that stand still, and may hold files of the profile until then.
    for (const { id, state } of this.#processes()) if (state.startsWith("T")) process.kill(id, "SIGKILL");
    const end = Date.now() + GONE_WITHIN_MS;
    while (this.#processes().length > 0 && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async remove() {
    await this.#context.close().catch(() => undefined);
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 10 });
  }

  /** The process of a page: the one that works when the page does. */
  async #rendererOf(page) {
    const renderers = () => this.#processes().filter(({ args }) => args.includes("--type=renderer"));
    const ticks = ({ id }) => {
      try {
        const [, user, system] = /\) (?:\S+ ){11}(\d+) (\d+)/.exec(readFileSync(`/proc/${id}/stat`, "utf8"));
        return Number(user) + Number(system);
      } catch {
        return 0;
      }
    };
    const before = new Map(renderers().map((it) => [it.id, ticks(it)]));
    await page.evaluate(() => {
      const end = performance.now() + 500;
      while (performance.now() < end);
    });
    const worked = renderers().map((it) => ({ id: it.id, ticks: ticks(it) - (before.get(it.id) ?? 0) }));
    worked.sort((a, b) => b.ticks - a.ticks);
    return worked[0].id;
  }

  #complain(text) {
    if (!this.#allowed.some((pattern) => pattern.test(text))) this.complaints.push(text);
  }

  /** Of all processes of this profile, the one that no other of them has started. */
  #mainProcess() {
    const found = this.#processes();
    const ids = new Set(found.map(({ id }) => id));
    const main = found.find(({ parent, args }) => !ids.has(parent) && !args.includes("--type="));
    if (!main) throw new Error("there is no browser with this profile");
    return main.id;
  }

  #processes() {
    const lines = execFileSync("ps", ["-eo", "pid=,ppid=,stat=,args=", "-ww"], { encoding: "utf8" }).split("\n");
    const parsed = lines.map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line)).filter(Boolean);
    return parsed
      .map(([, id, parent, state, args]) => ({ id: Number(id), parent: Number(parent), state, args }))
      .filter(({ state, args }) => !state.startsWith("Z") && args.includes(`--user-data-dir=${this.#profile}`));
  }
}

/** Waits until the scripts of a page have run. */
export async function ready(page) {
  await until("the page's script", () => page.evaluate(() => globalThis.isReady === true));
}

/** Loads a page again, and waits for its scripts. */
export async function reload(page) {
  await page.reload();
  await ready(page);
}

/** Waits until this gives something. */
export async function until(what, look, withinMs = 30_000) {
  const end = Date.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`it does not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
