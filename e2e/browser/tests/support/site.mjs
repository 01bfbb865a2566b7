// Where the page comes from: files, under a path that is not the root, with a strict policy.
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const BASE = "/some/base/path/";
const HERE = fileURLToPath(new URL("../..", import.meta.url));
const FOLDERS = {
  client: join(HERE, "../../packages/client"),
  pages: join(HERE, "pages"),
  replica: join(HERE, "replica"),
};

/** It runs in a worker. */
function obey() {
  // A function that is `unreachable`.
  const bytes = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 5, 1, 3, 0, 0, 11];
  globalThis.addEventListener("message", ({ data }) => {
    if (data.type === "busy") {
      const end = performance.now() + data.ms;
      while (performance.now() < end);
    } else if (data.type === "trap") {
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)));
      queueMicrotask(() => exports.f());
    }
  });
}

function changed(script, change) {
  const made = change(script);
  // Otherwise a test would be of the client as it is.
  if (made === script) throw new Error("the script is not as the variant expects it");
  return made;
}

/** The client as it would be in another release, or in another browser: a file of it, and how that is changed. */
const VARIANTS = {
  newer: ["version.js", (script) => script.replace(/VERSION = "[^"]+"/, 'VERSION = "99.0.0"')],
  other: [
    "version.js",
    (script) => script.replace(/VERSION = "[^"]+"/, 'VERSION = "99.0.0"').replace(/PROTOCOL = \d+/, "PROTOCOL = 99"),
  ],
  // One whose worker dies before it answers what it has stored for another page.
  mute: [
    "worker/host.js",
    (script) => script.replace(/if \(isHere\(\)\)(?=\s*guest.post\({ type: "done")/, 'if (guest.id === "" || !["write", "commit"].includes(op))'),
  ],
  // One that refuses locks, as where cookies are blocked; here it has files all the same.
  "without-locks": [
    "worker.js",
    (script) =>
      `${script}\nLockManager.prototype.request = () => Promise.reject(new DOMException("no", "SecurityError"));\n`,
  ],
  // One whose worker is busy for a while, or whose WebAssembly traps in a task that nobody waits for, when it is told to.
  obedient: ["worker.js", (script) => `${script}\n(${obey})();\n`],
  "broken-opfs": [
    "worker.js",
    (script) =>
      `${script}\nStorageManager.prototype.getDirectory = () => Promise.reject(new DOMException("no", "UnknownError"));\n`,
  ],
  "without-opfs": ["worker.js", (script) => `${script}\ndelete FileSystemFileHandle.prototype.createSyncAccessHandle;\n`],
};
/** What Vite names after what is in it: it never changes. As `tidewire serve --files` gives it. */
const NAMED_BY_CONTENT = "/assets/";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".wasm": "application/wasm" };

export class Site {
  #listener;
  #server;
  #reachable;
  #folders;

  /** Files, and tokens of this server. Pages may talk to `reachable`. */
  static async start(server, reachable, folders = FOLDERS) {
    const site = new Site();
    site.#folders = folders;
    site.#server = server;
    site.#reachable = reachable;
    site.#listener = createServer((request, response) => {
      site.#answer(request, response).catch((error) => response.writeHead(500).end(String(error)));
    });
    site.#listener.listen(0, "127.0.0.1");
    await once(site.#listener, "listening");
    return site;
  }

  get #origin() {
    return `http://127.0.0.1:${this.#listener.address().port}`;
  }

  /** The address of the page. */
  get url() {
    return this.at("");
  }

  /** That of the page with a variant of the client. */
  at(variant) {
    return `${this.page("index.html", variant)}?server=ws://${this.#reachable}`;
  }

  /** That of a page by its name. */
  page(name, variant = "") {
    return this.file(`${variant && `${variant}/`}pages/${name}`);
  }

  /** That of anything in its folders. */
  file(path) {
    return `${this.#origin}${BASE}${path}`;
  }

  async remove() {
    this.#listener.close();
    this.#listener.closeAllConnections();
    await once(this.#listener, "close");
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.#origin);
    if (url.pathname === "/favicon.ico") return response.writeHead(204).end();
    if (url.pathname === "/token") {
      const token = await this.#server.token(url.searchParams.get("user"));
      return response.writeHead(200, { "Content-Type": "text/plain", "Cache-Control": "no-store" }).end(token);
    }
    const parts = url.pathname.startsWith(BASE) ? url.pathname.slice(BASE.length).split("/") : [];
    const variant = VARIANTS[parts[0]] && VARIANTS[parts.shift()];
    const [folder, ...rest] = parts;
    const path = this.#folders[folder] && join(this.#folders[folder], normalize(`/${rest.join("/")}`));
    let body = path && (await readFile(path).catch(() => undefined));
    if (body && variant && path.endsWith(`/dist/${variant[0]}`)) body = changed(body.toString(), variant[1]);
    if (!body) return response.writeHead(404).end();
    const policy = [
      "default-src 'none'",
      "script-src 'self' 'wasm-unsafe-eval'",
      "worker-src 'self'",
      "img-src 'self'",
      `connect-src 'self' ws://${this.#reachable}`,
    ];
    response.writeHead(200, {
      "Content-Type": TYPES[extname(path)] ?? "application/octet-stream",
      "Content-Security-Policy": policy.join("; "),
      "Cache-Control": url.pathname.includes(NAMED_BY_CONTENT) ? "public, max-age=31536000, immutable" : "no-cache",
    });
    return response.end(body);
  }
}
