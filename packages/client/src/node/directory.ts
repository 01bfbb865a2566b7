/** Files in a directory of Node: replicas that other programs can read, and that last. */

import * as fs from "node:fs";
import { join } from "node:path";

import type { CoreFiles } from "../core.js";

/** Nobody else on the machine may read them. */
const PRIVATE = 0o600;

export class DirectoryFiles implements CoreFiles {
  readonly #directory: string;

  /** Makes the directory, where there is none. Throws what Node says. */
  constructor(directory: string) {
    fs.mkdirSync(directory, { recursive: true });
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
    this.#syncNames();
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
    let written = 0;
    while (written < bytes.length) {
      written += fs.writeSync(file, bytes, written, bytes.length - written, at + written);
    }
  }

  truncate(file: number, size: number): void {
    fs.ftruncateSync(file, size);
  }

  sync(file: number): void {
    fs.fsyncSync(file);
  }

  size(file: number): number {
    return fs.fstatSync(file).size;
  }

  exists(name: string): boolean {
    return fs.existsSync(this.#path(name));
  }

  remove(name: string): void {
    try {
      fs.unlinkSync(this.#path(name));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    this.#syncNames();
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
    this.#syncNames();
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  /** The names are durable. Where that cannot be, as on Windows, they are soon. */
  #syncNames(): void {
    try {
      const directory = fs.openSync(this.#directory, "r");
      try {
        fs.fsyncSync(directory);
      } finally {
        fs.closeSync(directory);
      }
    } catch {
      // There is nothing else to be done.
    }
  }
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ENOENT";
}
