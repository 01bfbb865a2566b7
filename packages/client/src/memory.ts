/** Files in memory, for where there are no others: they are gone with their worker. */

import type { CoreFiles } from "./core.js";

/** The least room that a file is given, in bytes. */
const ROOM_MIN = 64 * 1024;

/** What a file has: its bytes are the first of its room. */
interface Content {
  room: Uint8Array;
  size: number;
}

export class MemoryFiles implements CoreFiles {
  readonly #named = new Map<string, Content>();
  readonly #open = new Map<number, Content>();
  #last = 0;

  open(name: string, create: boolean): number | undefined {
    let content = this.#named.get(name);
    if (!content) {
      if (!create) return undefined;
      content = { room: new Uint8Array(0), size: 0 };
      this.#named.set(name, content);
    }
    this.#last += 1;
    this.#open.set(this.#last, content);
    return this.#last;
  }

  close(file: number): void {
    this.#open.delete(file);
  }

  read(file: number, into: Uint8Array, at: number): number {
    const { room, size } = this.#content(file);
    const bytes = room.subarray(Math.min(at, size), Math.min(at + into.length, size));
    into.set(bytes);
    return bytes.length;
  }

  write(file: number, bytes: Uint8Array, at: number): void {
    const content = this.#content(file);
    this.#grow(content, at + bytes.length);
    content.room.set(bytes, at);
  }

  truncate(file: number, size: number): void {
    const content = this.#content(file);
    this.#grow(content, size);
    // What is behind it must read as zeros when it grows again.
    content.room.fill(0, size, content.size);
    content.size = size;
  }

  sync(): void {}

  size(file: number): number {
    return this.#content(file).size;
  }

  exists(name: string): boolean {
    return this.#named.has(name);
  }

  /** Removes all of them. None is open. */
  clear(): void {
    this.#named.clear();
    this.#open.clear();
  }

  remove(name: string): void {
    this.#named.delete(name);
  }

  copy(from: string, to: string): void {
    const content = this.#named.get(from);
    if (!content) throw new Error(`there is no file ${from}`);
    this.#named.set(to, { room: content.room.slice(0, content.size), size: content.size });
  }

  #content(file: number): Content {
    const content = this.#open.get(file);
    if (!content) throw new Error("the file is not open");
    return content;
  }

  #grow(content: Content, size: number): void {
    if (size > content.room.length) {
      const room = new Uint8Array(Math.max(size, 2 * content.room.length, ROOM_MIN));
      room.set(content.room.subarray(0, content.size));
      content.room = room;
    }
    content.size = Math.max(content.size, size);
  }
}
