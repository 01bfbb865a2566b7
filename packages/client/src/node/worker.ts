/** The worker thread of Node. */

import { parentPort } from "node:worker_threads";

import { MemoryFiles } from "../memory.js";
import type { FromWorker, ToWorker } from "../messages.js";
import { failure, isTrap, plain } from "../worker/failures.js";
import type { Guest, Storage } from "../worker/guest.js";
import { Host } from "../worker/host.js";
import { DirectoryFiles, makeDirectory } from "./directory.js";
import { take } from "./lock.js";

const port = parentPort;
if (!port) throw new Error("this is started by createClient");

// Node has one of its own from version 22 on.
if (typeof WebSocket === "undefined") {
  const { WebSocket: Socket } = await import("ws");
  Object.assign(globalThis, {
    WebSocket: class extends Socket {
      constructor(address: string) {
        // It would keep what it is given to send, which is memory of the core, until it has compressed it.
        super(address, { perMessageDeflate: false });
        // An event that nobody hears would end the thread, and that it is closed is told anyway.
        this.on("error", () => undefined);
      }
    },
  });
}

/** How long another client may take to go, in milliseconds. */
const TAKEN_WITHIN_MS = 5_000;

const TAKEN = "another client has this directory open: close that one, or give this one another directory";

let host: Host | undefined;
const page: Guest = { id: "page", post: (message: FromWorker) => port.postMessage(message) };

async function open({ module, opening }: ToWorker & { type: "open" }): Promise<void> {
  const { directory } = opening.config;
  try {
    if (directory !== null) {
      makeDirectory(directory);
      if (!(await take(directory, TAKEN_WITHIN_MS))) throw failure("unsupported", TAKEN);
    }
    host = new Host([directory === null ? MEMORY : { kind: "file", files: async () => new DirectoryFiles(directory) }]);
    await host.open(page, opening, module);
    // Whoever had the directory before is gone.
    await host.keepRequests([opening.client]);
  } catch (error) {
    page.post({ type: "refused", error: plain(error) });
  }
}

const MEMORY: Storage = { kind: "memory", files: async () => new MemoryFiles() };

port.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "open":
      void open(message);
      break;
    case "call":
    case "token":
    case "no_token":
      void host?.receive(page, message);
  }
});

process.on("unhandledRejection", (reason) => {
  // What is none of the core's ends the thread, as it does elsewhere in Node.
  if (!isTrap(reason)) throw reason;
  host?.fail(reason);
});
