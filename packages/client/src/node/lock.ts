/** Holds a directory against other clients on this machine. */

import { statSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

/** How often it is tried again, in milliseconds. */
const LOOK_EVERY_MS = 50;

/**
 * Takes the directory for as long as this worker lives, and says whether that was possible within so many
 * milliseconds.
 *
 * Node has no locks of files. What it has, and the system takes back however a process ends, is the address of a
 * local socket. It is that of the directory itself, under whatever path it is known. It is one for all that share a
 * network: containers that share a directory alone do not notice each other.
 */
export async function take(directory: string, withinMs: number, platform: string = process.platform): Promise<boolean> {
  const address = addressOf(directory, platform);
  const end = Date.now() + withinMs;
  for (;;) {
    const server = await listen(address);
    if (server && (isNoFile(platform) || (await isStillMine(address)))) {
      // It is no reason to go on living, and what others do with it is no error.
      server.unref();
      server.on("error", () => undefined);
      return true;
    }
    server?.close();
    if (!server && !isNoFile(platform) && !(await isHeld(address))) rmSync(address, { force: true });
    else if (Date.now() > end) return false;
    else await pause();
  }
}

/** On Linux and Windows such an address is no file, and goes with its process. */
function isNoFile(platform: string): boolean {
  return platform === "linux" || platform === "win32";
}

function addressOf(directory: string, platform: string): string {
  const { dev, ino } = statSync(directory, { bigint: true });
  const name = `tidewire-${dev.toString(36)}-${ino.toString(36)}`;
  switch (platform) {
    case "linux":
      return `\0${name}`;
    case "win32":
      return `\\\\.\\pipe\\${name}`;
    default:
      // Such addresses are short, and paths of applications are not.
      return join(tmpdir(), `${name}-${userInfo().uid}.lock`);
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

/** Whoever found nobody here before may remove the file that is there now, and then it is theirs. */
async function isStillMine(address: string): Promise<boolean> {
  const mine = inode(address);
  await pause();
  await pause();
  return mine !== undefined && inode(address) === mine;
}

function inode(address: string): bigint | undefined {
  return statSync(address, { bigint: true, throwIfNoEntry: false })?.ino;
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

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
}
