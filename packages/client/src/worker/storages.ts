/** Where a browser keeps replicas. */

import * as tidewire from "../../wasm/tidewire.js";

import type { CoreError } from "../core.js";
import type { TidewireError } from "../errors.js";
import { gateSockets } from "../gate.js";
import { IndexedFiles } from "../indexed.js";
import type { Wasm } from "../wasm.js";
import { failure } from "./failures.js";
import type { Storage } from "./guest.js";

/** How long it is waited for room, in milliseconds, before it is looked again. */
const TRY_AGAIN_MS = 1_000;

/** A database without anything in it, where there are private files with replicas. */
const MARK = "tidewire-opfs";

/** The private files of the origin. */
const ORIGIN: Storage = {
  kind: "opfs",
  files: async () => {
    // Some have such files, and cannot use them without waiting.
    if (typeof FileSystemFileHandle !== "undefined" && "createSyncAccessHandle" in FileSystemFileHandle.prototype) return;
    throw failure("unsupported", "this browser has no private files of an origin, or not here");
  },
  use: () => {
    // That it is there says it.
    const made = indexedDB.open(MARK);
    made.onsuccess = () => made.result.close();
  },
  wasUsed: async () => {
    try {
      return (await indexedDB.databases()).some(({ name }) => name === MARK);
    } catch {
      return false;
    }
  },
  letGo: () => (tidewire as unknown as Wasm).Core.letGo(),
};

/** Memory that is kept in IndexedDB: nothing is told, and nothing sent, before it is stored there. */
class Indexed implements Storage {
  readonly kind = "indexeddb";
  #files: Promise<IndexedFiles> | undefined;
  #hasGate = false;
  readonly #listeners: ((why: CoreError | null) => void)[] = [];
  #isInTrouble = false;

  async files(directory: string | null): Promise<IndexedFiles> {
    this.#files ??= IndexedFiles.open(directory ?? "tidewire").catch((error: unknown) => {
      this.#files = undefined;
      throw error;
    });
    if (!this.#hasGate) gateSockets(() => this.settled());
    this.#hasGate = true;
    return await this.#files;
  }

  onTrouble(callback: (why: CoreError | null) => void): void {
    this.#listeners.push(callback);
  }

  touched(): void {
    // What the server has sent is stored, too, and not only when somebody waits for it.
    this.#files?.then((files) => files.flush()).catch(() => undefined);
  }

  /** Waits until there is room: what was done cannot be undone, and whoever is told that it is done counts on it. */
  async settled(): Promise<void> {
    const files = await this.#files;
    for (;;) {
      try {
        await files?.flush();
        if (this.#isInTrouble) this.#tell(null);
        return;
      } catch (error) {
        const { code, message } = error as TidewireError;
        if (code !== "quota" && code !== "internal") throw error;
        this.#tell(failure(code, `${message}. What was written waits for that`));
        await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
      }
    }
  }

  #tell(why: CoreError | null): void {
    this.#isInTrouble = why !== null;
    for (const callback of this.#listeners) callback(why);
  }

  async letGo(): Promise<void> {
    const files = this.#files;
    this.#files = undefined;
    // What is not stored by now nobody was told of.
    await (await files)?.end().catch(() => undefined);
  }
}

/** The best first: the next one is used where a browser does not have it, or not here. */
export function storages(): Storage[] {
  return [ORIGIN, new Indexed()];
}
