// Browsers beside Chromium: which are here, a world with one of them, and what their drivers share.
//
// A driver has the few calls of `Browser` that the tests use, and its pages those of a page of Playwright. So a test
// runs in any of them.
import { execFileSync, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ready, until } from "./browser.mjs";
import { worldOf } from "./world.mjs";

const GONE_WITHIN_MS = 10_000;

/**
 * All of them, by name. `missing` is what has to be installed before one can be started, or null.
 *
 * Drivers are loaded here and not above: they are built on the classes of this file.
 */
export async function engines() {
  const { Firefox } = await import("./firefox.mjs");
  const { WebKit } = await import("./webkit.mjs");
  return [
    { name: "firefox", Driver: Firefox, missing: Firefox.missing(), storage: "opfs", forgets: false },
    // It has no private files of an origin here, and forgets everything when it ends.
    { name: "webkit", Driver: WebKit, missing: WebKit.missing(), storage: "indexeddb", forgets: true },
  ];
}

/** As `world` does it, with a browser of this engine. */
export async function engineWorld(t, { name, Driver, missing }, ...tables) {
  if (missing) throw new Error(`there is no ${name} here: install ${missing}`);
  return await worldOf(t, Driver, tables);
}

/**
 * A profile, and the browsers that are open on it one after the other. A driver has these of its own:
 * `launch()` starts one, `page()` gives an empty page, and `main()` the id of its main process.
 */
export class Engine {
  #allowed = [];
  /** The folder that it keeps everything in. */
  profile;
  /** All processes of the browser that runs, or undefined. */
  processes;
  /** What pages complained of and nobody has expected. */
  complaints = [];

  static async start() {
    const browser = new this();
    browser.profile = await mkdtemp(join(tmpdir(), "tidewire-browser-profile-"));
    try {
      await browser.start();
    } catch (error) {
      await browser.remove();
      throw error;
    }
    return browser;
  }

  /** Starts it again with the same profile. */
  async start() {
    await this.launch();
  }

  /** Complaints that are like this are expected. */
  allow(pattern) {
    this.#allowed.push(pattern);
  }

  /** A page complains. */
  complain(text) {
    if (!this.#allowed.some((pattern) => pattern.test(text))) this.complaints.push(text);
  }

  /** A page at this address, whose scripts have run. */
  async open(url) {
    const page = await this.page();
    await page.goto(url);
    await ready(page);
    return page;
  }

  /** Ends it as a power cut does. */
  async kill() {
    process.kill(this.main(), "SIGKILL");
    await this.processes.gone();
    this.processes = undefined;
  }

  async remove() {
    if (this.processes?.list().length > 0) await this.kill();
    await rm(this.profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** They are in no group that a terminal or a test runner would end: whatever ends the tests has to end them. */
const running = new Set();
process.on("exit", () => {
  for (const processes of running) processes.end();
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/**
 * A program and all that it starts: a session of the operating system. Helpers of a browser have nothing else by
 * which they could be told from those of another one.
 */
export class Processes {
  #head;
  #isMissing = false;
  /** What it has written, as lines. */
  log = [];

  constructor(program, args, env = {}) {
    this.#head = spawn(program, args, {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
    });
    this.#head.on("error", (error) => {
      this.#isMissing = true;
      this.log.push(String(error));
    });
    for (const stream of [this.#head.stdout, this.#head.stderr]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (text) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop();
        this.log.push(...lines);
      });
    }
    running.add(this);
  }

  /** The id of the program. */
  get id() {
    return this.#head.pid;
  }

  get hasEnded() {
    return this.#isMissing || this.#head.exitCode !== null || this.#head.signalCode !== null;
  }

  /** Those that run. */
  list() {
    const lines = execFileSync("ps", ["-eo", "pid=,sess=,stat=,args=", "-ww"], { encoding: "utf8" }).split("\n");
    const parsed = lines.map((line) => /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line)).filter(Boolean);
    return parsed
      .map(([, id, session, state, args]) => ({ id: Number(id), session: Number(session), state, args }))
      .filter(({ session, state }) => session === this.id && !state.startsWith("Z"));
  }

  /** Waits until the last one is gone: they may hold files of the profile until then. */
  async gone() {
    const end = Date.now() + GONE_WITHIN_MS;
    while (this.list().length > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
    this.end();
    await until("the end of a browser", () => this.list().length === 0);
    running.delete(this);
  }

  /** Ends all. */
  end() {
    for (const { id } of this.list()) {
      try {
        process.kill(id, "SIGKILL");
      } catch (error) {
        if (error.code !== "ESRCH") throw error;
      }
    }
  }
}

/** The source of a function that calls `fn` in a page and gives a text for `read`. It never throws. */
export function callIn(fn, argument) {
  return `async () => {
    const written = ${written};
    try {
      return JSON.stringify({ value: written(await (${fn})(${JSON.stringify(argument) ?? ""})) });
    } catch (error) {
      return JSON.stringify({ error: error instanceof Error ? error + "\\n" + error.stack : "thrown: " + error });
    }
  }`;
}

/** What was returned in the page, or its error. */
export function read(text) {
  const { value, error } = JSON.parse(text);
  if (error !== undefined) throw new Error(error);
  return valueOf(value);
}

/** A value as JSON: what JSON has not is a pair of its kind and a text. It runs in the page, on its own. */
function written(value) {
  if (value === null || ["string", "boolean"].includes(typeof value) || Number.isFinite(value)) return value;
  if (typeof value === "number" || typeof value === "bigint") return [typeof value, `${value}`];
  if (typeof value !== "object") return ["undefined"];
  if (value instanceof Date) return ["date", value.getTime()];
  if (ArrayBuffer.isView(value)) return ["bytes", [...new Uint8Array(value.buffer, value.byteOffset, value.byteLength)]];
  if (Array.isArray(value)) return ["array", value.map((it) => written(it))];
  return ["object", Object.entries(value).map(([key, it]) => [key, written(it)])];
}

function valueOf(pair) {
  if (!Array.isArray(pair)) return pair;
  const [kind, content] = pair;
  const kinds = {
    number: Number,
    bigint: BigInt,
    undefined: () => undefined,
    date: (ms) => new Date(ms),
    bytes: (bytes) => Uint8Array.from(bytes),
    array: (items) => items.map(valueOf),
    object: (entries) => Object.fromEntries(entries.map(([key, it]) => [key, valueOf(it)])),
  };
  return kinds[kind](content);
}
