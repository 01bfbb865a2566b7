// What the tests call in the page. Everything of the client goes through its public API.
import * as tidewire from "../client/dist/index.js";
import { Device } from "./device.js";

const server = new URLSearchParams(location.search).get("server");

// Each worker that was started, so that a test can be what ends one.
const workers = [];
// By which each of them knows the page.
const clients = [];
globalThis.Worker = class extends Worker {
  constructor(...args) {
    super(...args);
    workers.push(this);
  }

  postMessage(message) {
    if (message.type === "open") clients.push(message.opening.client);
    super.postMessage(message);
  }
};

/** Whether the last worker of this page has the replicas. */
async function isLeading() {
  const { held } = await navigator.locks.query();
  const leader = held.find(({ name }) => name === "tidewire")?.clientId;
  return held.some(({ name, clientId }) => clientId === leader && name.startsWith(`tidewire-page:${clients.at(-1)}:`));
}

/** Has the page seen, or not. */
function see(isSeen) {
  const visibilityState = isSeen ? "visible" : "hidden";
  Object.defineProperty(document, "visibilityState", { value: visibilityState, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}

async function token(user) {
  const response = await fetch(`/token?user=${user}`);
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return await response.text();
}

const logged = [];

function open(user, options = {}) {
  const log = (level, line) => logged.push(`${level} ${line}`);
  return tidewire.createClient({ url: server, name: "test", user, token: () => token(user), log, ...options });
}

/** The same with all rows of a table here. It is `client` from then on. */
async function openWith(user, table) {
  globalThis.client = open(user);
  await client.subscribe(`SELECT * FROM ${table}`).ready();
}

/** The code and the sentence of what is thrown. */
async function failure(run) {
  try {
    await run();
  } catch (error) {
    return { code: error.code, message: error.message, isError: error instanceof tidewire.TidewireError };
  }
  throw new Error("nothing was thrown");
}

/** Waits until this gives something. */
async function until(what, look, withinMs = 30_000) {
  const end = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (performance.now() > end) throw new Error(`it does not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Object.assign(globalThis, { Device, tidewire, open, openWith, failure, until, isLeading, see, workers, logged });
globalThis.isReady = true;
