// The shell of the app, so that it opens without a network. What the app shows comes from the replica, and what it
// asks of servers is none of this: it is neither answered nor kept here.

const VERSION = "__VERSION__";
const FILES = ["__FILES__"];

const PREFIX = "chat-shell-";
const CACHE = `${PREFIX}${VERSION}`;
const PAGE = "index.html";

const scope = new URL(registration.scope);
const cached = new Set(FILES.map((file) => new URL(file, scope).href));

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("fetch", (event) => {
  const file = fileOf(event.request);
  if (file) event.respondWith(answer(file, event.request));
});
// A new version waits until the user wants it, so that no page has the files of two.
addEventListener("message", ({ data }) => {
  if (data === "take over") skipWaiting();
});

async function install() {
  const cache = await caches.open(CACHE);
  // All of them or none, and from the server: the browser may have older ones.
  await cache.addAll([...cached].map((file) => new Request(file, { cache: "reload" })));
}

async function activate() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
}

/** Which file of the shell is asked for, if it is one. */
function fileOf({ method, mode, url }) {
  if (method !== "GET") return undefined;
  const { origin, pathname } = new URL(url);
  const address = `${origin}${pathname}`;
  if (mode === "navigate" && address === `${scope.origin}${scope.pathname}`) return new URL(PAGE, scope).href;
  return cached.has(address) ? address : undefined;
}

async function answer(file, request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(file)) ?? fetch(request);
}
