/** Holds a directory against other processes, and against other workers of this one. */

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";

/** How often it is tried again, in milliseconds. */
const LOOK_EVERY_MS = 50;

/**
 * Takes the directory for as long as this worker lives, and says whether that was possible within so many
 * milliseconds.
 *
 * Node has no locks of files. What it has, and the system gives back however a process ends, is the address of a
 * local socket.
 */
export async function take(directory: string, withinMs: number): Promise<boolean> {
  const address = addressOf(fs.realpathSync(directory));
  const end = Date.now() + withinMs;
  for (;;) {
    const server = await listen(address);
    if (server) {
      // It is no reason to go on living.
      server.unref();
      return true;
    }
    if (isFile() && !(await isHeld(address))) fs.rmSync(address, { force: true });
    else if (Date.now() > end) return false;
    else await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** On Linux and Windows such an address is no file, and goes with its process. */
function isFile(): boolean {
  return process.platform !== "linux" && process.platform !== "win32";
}

function addressOf(directory: string): string {
  const name = `tidewire-${createHash("sha256").update(directory).digest("hex").slice(0, 32)}`;
  switch (process.platform) {
    case "linux":
      return `\0${name}`;
    case "win32":
      return `\\\\.\\pipe\\${name}`;
    default:
      return join(directory, "tidewire.lock");
  }
}

/** Nothing, where somebody else has it. */
function listen(address: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen({ path: address, exclusive: true }, () => resolve(server));
  });
}

function isHeld(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
