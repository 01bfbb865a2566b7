/** Where a browser keeps replicas. */

import * as tidewire from "../../wasm/tidewire.js";

import type { CoreError } from "../core.js";
import type { TidewireError } from "../errors.js";
import { gateSockets } from "../gate.js";
import type { Unsubscribe } from "../listeners.js";
import { IndexedFiles } from "../indexed.js";
import type { Wasm } from "../wasm.js";
import { failure } from "./failures.js";
import type { Storage } from "./guest.js";

/** How long it is waited for room, in milliseconds, before it is looked again. */
const TRY_AGAIN_MS = 1_000;

/** A database without anything in it, where there are private files with replicas. */
const MARK = "tidewire-opfs";

/** How often it is looked whether the files are still there, in milliseconds. */
const LOOK_EVERY_MS = 5_000;

const REMOVED = "what the browser has stored of this site was removed while it was open";

/** The private files of the origin. */
class Origin implements Storage {
  readonly kind = "opfs";
  readonly canBeTaken = false;
  #directory = "";
  #clock: ReturnType<typeof setInterval> | undefined;

  get isHere(): boolean {
    return typeof FileSystemFileHandle !== "undefined" && "createSyncAccessHandle" in FileSystemFileHandle.prototype;
  }

  async files(directory: string | null): Promise<undefined> {
    this.#directory = directory ?? "";
    // Some have such files, and cannot use them without waiting.
    if (this.isHere) return;
    throw failure("unsupported", "this browser has no private files of an origin, or not here");
  }

  use(onGone: (why: Error) => void): void {
    mark();
    clearInterval(this.#clock);
    this.#clock = setInterval(() => {
      void this.#isThere().then((isThere) => isThere || onGone(new Error(REMOVED)));
    }, LOOK_EVERY_MS);
  }

  async wasUsed(): Promise<boolean> {
    try {
      return (await indexedDB.databases()).some(({ name }) => name === MARK);
    } catch {
      return false;
    }
  }

  async letGo(): Promise<void> {
    clearInterval(this.#clock);
    await (tidewire as unknown as Wasm).Core.letGo();
  }

  /** Files that are open can still be written when they have been removed, and nobody ever reads them. */
  async #isThere(): Promise<boolean> {
    try {
      await (await navigator.storage.getDirectory()).getDirectoryHandle(this.#directory);
      return true;
    } catch (error) {
      return (error as DOMException).name !== "NotFoundError";
    }
  }
}

/** Notes that there are private files. That the database is there says it. */
function mark(): void {
  try {
    const made = indexedDB.open(MARK);
    made.onsuccess = () => made.result.close();
  } catch {
    // Then it is not known later.
  }
}

/** Memory that is kept in IndexedDB: no write is answered, and nothing sent, before it is stored there. */
class Indexed implements Storage {
  readonly kind = "indexeddb";
  readonly canBeTaken = true;
  #files: Promise<IndexedFiles> | undefined;
  #hasGate = false;
  readonly #listeners = new Set<(why: CoreError | null) => void>();
  #onGone: ((why: Error) => void) | undefined;
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

  onTrouble(callback: (why: CoreError | null) => void): Unsubscribe {
    this.#listeners.add(callback);
    return () => void this.#listeners.delete(callback);
  }

  use(onGone: (why: Error) => void): void {
    this.#onGone = onGone;
  }

  touched(): void {
    // What the server has sent is stored, too, and not only when somebody waits for it.
    this.#files?.then((files) => files.flush()).catch((error: TidewireError) => this.#look(error));
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
        this.#look(error as TidewireError);
        if (code !== "quota" && code !== "internal") throw error;
        this.#tell(failure(code, `${message}. What was written waits for that`));
        await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
      }
    }
  }

  /** What another page has, or nobody any more, is opened again from the beginning. */
  #look(error: TidewireError): void {
    if (error.code === "leader_changed") this.#onGone?.(error);
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
  return [new Origin(), new Indexed()];
}
