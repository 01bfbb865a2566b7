/** The worker thread of Node. */

import { parentPort } from "node:worker_threads";

import { MemoryFiles } from "../memory.js";
import { serve } from "../serve.js";
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

serve(
  {
    post: (message) => port.postMessage(message),
    onMessage: (listener) => port.on("message", listener),
    onUnhandled: (listener) =>
      process.on("unhandledRejection", (reason) => {
        listener(reason);
        // What is none of the core's ends the thread, as it does elsewhere in Node.
        if (!(reason instanceof WebAssembly.RuntimeError)) throw reason;
      }),
  },
  {
    take: (directory, withinMs) => {
      makeDirectory(directory);
      return take(directory, withinMs);
    },
    files: (directory) => (directory === null ? new MemoryFiles() : new DirectoryFiles(directory)),
    whenTaken: "another client has this directory open: close that one, or give this one another directory",
  },
);
