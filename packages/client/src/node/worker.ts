/** The worker thread of Node. */

import { mkdirSync } from "node:fs";
import { parentPort } from "node:worker_threads";

import { MemoryFiles } from "../memory.js";
import { serve } from "../serve.js";
import { DirectoryFiles } from "./directory.js";
import { take } from "./lock.js";

const port = parentPort;
if (!port) throw new Error("this is started by createClient");

// Node has one of its own from version 22 on.
if (typeof WebSocket === "undefined") {
  const { WebSocket } = await import("ws");
  Object.assign(globalThis, { WebSocket });
}

serve(
  {
    post: (message) => port.postMessage(message),
    onMessage: (listener) => port.on("message", listener),
    onUnhandled: (listener) => process.on("unhandledRejection", listener),
  },
  {
    take: (directory, withinMs) => {
      mkdirSync(directory, { recursive: true });
      return take(directory, withinMs);
    },
    files: (directory) => (directory === null ? new MemoryFiles() : new DirectoryFiles(directory)),
    whenTaken: "another client has this directory open: close that one, or give this one another directory",
  },
);
