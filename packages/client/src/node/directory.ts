/** Files in a directory of Node: replicas that last. */

import * as fs from "node:fs";
import { dirname, join } from "node:path";

import type { CoreFiles } from "../core.js";

/** Nobody else on the machine may read them. */
const PRIVATE = 0o600;

export class DirectoryFiles implements CoreFiles {
  readonly #directory: string;

  /** The directory is there. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  open(name: string, create: boolean): number | undefined {
    const path = this.#path(name);
    try {
      return fs.openSync(path, fs.constants.O_RDWR, PRIVATE);
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    if (!create) return undefined;
    const file = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, PRIVATE);
    syncNames(this.#directory);
    return file;
  }

  close(file: number): void {
    fs.closeSync(file);
  }

  read(file: number, into: Uint8Array, at: number): number {
    let read = 0;
    while (read < into.length) {
      const count = fs.readSync(file, into, read, into.length - read, at + read);
      if (count === 0) break;
      read += count;
    }
    return read;
  }

  write(file: number, bytes: Uint8Array, at: number): void {
    checkNamed(file);
    let written = 0;
    while (written < bytes.length) {
      written += fs.writeSync(file, bytes, written, bytes.length - written, at + written);
    }
  }

  truncate(file: number, size: number): void {
    fs.ftruncateSync(file, size);
  }

  sync(file: number): void {
    checkNamed(file);
    fs.fsyncSync(file);
  }

  size(file: number): number {
    return fs.fstatSync(file).size;
  }

  exists(name: string): boolean {
    // What cannot be looked at may be there.
    return fs.statSync(this.#path(name), { throwIfNoEntry: false }) !== undefined;
  }

  remove(name: string): void {
    try {
      fs.unlinkSync(this.#path(name));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    syncNames(this.#directory);
  }

  copy(from: string, to: string): void {
    const half = this.#path(`${to}.half`);
    fs.copyFileSync(this.#path(from), half);
    const file = fs.openSync(half, "r+");
    try {
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    fs.renameSync(half, this.#path(to));
    syncNames(this.#directory);
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }
}

/** Makes a directory that lasts, where there is none. Throws what Node says. */
export function makeDirectory(directory: string): void {
  const first = fs.mkdirSync(directory, { recursive: true });
  if (first === undefined) return;
  for (let made = directory; ; made = dirname(made)) {
    syncNames(dirname(made));
    if (made === first || made === dirname(made)) return;
  }
}

/**
 * A file that has no name any more loses what is written to it. So it is when another program has read the replica
 * meanwhile, which sees nobody, and tidies up when it closes it.
 */
function checkNamed(file: number): void {
  if (fs.fstatSync(file).nlink > 0) return;
  throw new Error(
    "another program has removed a file of the replica while it was open: close the client before others read it, " +
      "and create it again",
  );
}

/** The names in a directory are durable. Where that cannot be, as on Windows, they are soon. */
function syncNames(path: string): void {
  try {
    const directory = fs.openSync(path, "r");
    try {
      fs.fsyncSync(directory);
    } finally {
      fs.closeSync(directory);
    }
  } catch {
    // There is nothing else to be done.
  }
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ENOENT";
}
