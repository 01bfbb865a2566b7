// The web chat, as it is built: its tables, a site that serves it, a stand-in for sign-in, and what a person does in it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Browser } from "./browser.mjs";
import { Device } from "./device.mjs";
import { Proxy } from "./proxy.mjs";
import { Server } from "./server.mjs";

const WEB = fileURLToPath(new URL("../../../../examples/chat/web", import.meta.url));
const DIST = join(WEB, "dist");
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};
/** Where the tables of the chat are written down. */
const TABLES = fileURLToPath(new URL("../../../../examples/chat/conversation/src/tables.rs", import.meta.url));

/** The statements that make them. */
async function tables() {
  const [, list] = (await readFile(TABLES, "utf8")).split("const TABLES");
  const statements = [...list.split("\n];")[0].matchAll(/"(CREATE [^"]*)"/g)].map(([, sql]) => sql);
  assert.ok(statements.length > 5, `the tables are found in ${TABLES}`);
  return statements;
}

/** That of `tidewire serve --files`, for pages that may connect to these origins. */
function policy(connect) {
  return [
    "default-src 'self'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    `connect-src 'self' ${connect.join(" ")}`,
    "img-src 'self' data: blob:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");
}

let built;

/** Installs what the app needs, if it is not there, and builds it: once for all tests of a file. */
async function build() {
  const npm = (...args) => promisify(execFile)("npm", args, { cwd: WEB });
  const make = async () => {
    if (!existsSync(join(WEB, "node_modules/vite"))) await npm("ci", "--prefer-offline");
    await npm("run", "build");
  };
  built ??= make();
  await built;
}

/** The server of a chat, and the devices of its people. They go with the test, which fails when a page complains. */
export async function chat(t, { rooms = [] } = {}) {
  await build();
  const made = [];
  t.after(async () => {
    for (const it of made.reverse()) await it.remove();
  });
  const keep = (it) => {
    made.push(it);
    return it;
  };
  const server = keep(await Server.start(await tables()));
  for (const room of rooms) await server.sql("INSERT INTO chat.rooms (name) VALUES ($1)", [room]);
  const device = async (options) => {
    const proxy = keep(await Proxy.to(server));
    const site = keep(await ChatSite.start(server, proxy.address));
    const browser = keep(await Browser.start());
    // That there is no connection is no defect, and Chromium says so each time.
    browser.allow(/WebSocket connection to .* failed/);
    t.after(() => assert.deepEqual(browser.complaints, []));
    const page = await browser.page();
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.emulateMedia({ reducedMotion: "reduce", ...options });
    return new ChatDevice(server, proxy, site, browser, page);
  };
  return { server, device };
}

/** Who has written `@` and a name is told: the notifier of `examples/chat`, once. */
export async function notify(server) {
  for (const [id, room, author, body] of await server.rows("SELECT id, room, author, body FROM chat.messages")) {
    for (const [, user] of body.matchAll(/@([a-z0-9_-]+)/g)) {
      await server.sql(
        `EXECUTE AS USER '${user}' (INSERT INTO chat.mentions (message, room, author, body)
         VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING)`,
        [id, room, author, body],
      );
    }
  }
}

/** The files of the app, and sign-in beside it. All of it can be cut off, as a network is. */
class ChatSite {
  #listener;
  #port = 0;
  #server;
  #sync;
  /** Users, by their sessions. */
  #sessions = new Map();
  /** Whether sign-in answers. */
  isSigningIn = true;
  /** Whether there is another version of the app. */
  isNewer = false;

  static async start(server, sync) {
    const site = new ChatSite();
    site.#server = server;
    site.#sync = sync;
    await site.open();
    return site;
  }

  get url() {
    return `http://127.0.0.1:${this.#port}/`;
  }

  async open() {
    this.#listener = createServer((request, response) => {
      this.#answer(request, response).catch((error) => response.writeHead(500).end(String(error)));
    });
    this.#listener.listen(this.#port, "127.0.0.1");
    await once(this.#listener, "listening");
    this.#port = this.#listener.address().port;
  }

  async cut() {
    this.#listener.close();
    this.#listener.closeAllConnections();
    await once(this.#listener, "close");
  }

  async remove() {
    if (this.#listener.listening) await this.cut();
  }

  /** Nobody is signed in any more. */
  endSessions() {
    this.#sessions.clear();
  }

  async #answer(request, response) {
    const { pathname } = new URL(request.url, this.url);
    const say = (status, body) =>
      response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" }).end(JSON.stringify(body));
    if (pathname === "/config.json") return say(200, { server: `http://${this.#sync}`, signIn: `${this.url}auth/` });
    if (pathname.startsWith("/auth/")) {
      if (!this.isSigningIn) return request.socket.destroy();
      return await this.#signIn(pathname.slice("/auth/".length), request, say);
    }
    const path = join(DIST, normalize(pathname === "/" ? "/index.html" : pathname));
    let body = await readFile(path).catch(() => undefined);
    if (body && this.isNewer && pathname === "/service-worker.js") body = body.toString().replace(/VERSION = "\w+"/, 'VERSION = "newer"');
    if (!body) return response.writeHead(404).end();
    response.writeHead(200, {
      "Content-Type": TYPES[extname(path)] ?? "application/octet-stream",
      "Content-Security-Policy": policy([`http://${this.#sync}`, `ws://${this.#sync}`]),
      "Cache-Control": "no-cache",
    });
    return response.end(body);
  }

  async #signIn(what, request, say) {
    const session = request.headers.authorization?.replace("Bearer ", "");
    if (what === "sign-in") {
      let text = "";
      for await (const piece of request) text += piece;
      const user = JSON.parse(text).name.toLowerCase();
      if (!/^[a-z0-9_-]{1,40}$/.test(user)) {
        return say(400, { error: { code: "invalid_request", message: "a name has letters, digits, _ and -" } });
      }
      const id = randomUUID();
      this.#sessions.set(id, user);
      return say(200, { user, session: id });
    }
    if (what === "sign-out") {
      this.#sessions.delete(session);
      return say(204);
    }
    const user = this.#sessions.get(session);
    if (!user) return say(401, { error: { code: "needs_auth", message: "sign in again" } });
    return say(200, { token: await this.#server.token(user), expires_at: 0 });
  }
}

/** A device whose network can be cut. */
class ChatDevice extends Device {
  constructor(server, proxy, site, browser, page) {
    super(page);
    Object.assign(this, { server, proxy, site, browser });
  }

  async signIn(name) {
    await this.page.goto(this.site.url);
    await this.page.getByLabel("Your name").fill(name);
    await this.page.getByRole("button", { name: "Sign in" }).click();
    await this.page.getByRole("navigation", { name: "Rooms" }).waitFor();
  }

  /** No packet gets through: neither to the server, nor to where the page comes from. */
  async cutNetwork() {
    this.proxy.cut();
    await this.site.cut();
  }

  async restoreNetwork() {
    await this.site.open();
    this.proxy.open();
    await this.page.evaluate(() => dispatchEvent(new Event("online")));
  }
}
