/**
 * Files in memory that are kept in IndexedDB: replicas for where a browser has no private files.
 *
 * SQLite does not wait, and IndexedDB answers later. So files are blocks in memory, and it is known which of them have
 * changed. A flush puts all of those into one transaction: what is stored is always one moment of all files, as the end
 * of a process would leave them, and SQLite goes on from that with its journal. What was flushed is stored.
 *
 * ```text
 * "files"   id → { name, size }
 * "blocks"  [id, number] → Uint8Array of BLOCK_BYTES; one that was never written is zeros, and is not there
 * "owner"   "owner" → who has opened it last: nobody else stores anything
 * ```
 */

import type { CoreFiles } from "./core.js";
import { TidewireError, messageOf } from "./errors.js";
import { randomId } from "./random.js";

/** The version of the database: another one when what is in it, or the size of a block, is another. */
const FORMAT = 1;

const STORES = ["files", "blocks", "owner"] as const;

/**
 * Measured in Chromium: with 32 KiB and more it takes longer to flush and to open, and with less than this neither is
 * faster. Of values above 64 KiB Chromium makes files of their own.
 */
const BLOCK_BYTES = 16 * 1024;

/** How many blocks are asked for at once: more may not fit into one message of the browser. */
const BLOCKS_AT_ONCE = 256;

/** How long a browser may take to open the database, in milliseconds. Some never answer. */
const OPEN_WITHIN_MS = 15_000;

/** How long it is waited after a flush that failed, at first and at most, in milliseconds. */
const TRY_AGAIN_MS = 1_000;
const TRY_AGAIN_MS_MAX = 10_000;

interface Content {
  readonly id: number;
  readonly name: string;
  readonly blocks: Map<number, Uint8Array<ArrayBuffer>>;
  size: number;
  /** Whoever has it open has it still, and nothing of it is stored any more. */
  isRemoved: boolean;
}

/** What of a file is not stored. */
interface Changes {
  readonly blocks: Set<number>;
  /** Blocks from this one on that are stored are not part of it; those that have come since are in `blocks`. */
  cutAt: number;
}

/** What one transaction stores. */
interface Step {
  readonly changes: Map<Content, Changes>;
  /** Their ids. */
  readonly removed: Set<number>;
}

export class IndexedFiles implements CoreFiles {
  readonly #name: string;
  readonly #owner = randomId();
  #database: IDBDatabase | undefined;
  readonly #named = new Map<string, Content>();
  readonly #open = new Map<number, Content>();
  #lastFile = 0;
  #lastId = 0;
  #unstored: Step = { changes: new Map(), removed: new Set() };
  /** The transaction that is under way, and the one that all who have come since wait for. */
  #storing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  /** Why nothing can be stored at the moment. */
  #trouble: Error | undefined;
  /** Why nothing can ever be stored again. */
  #end: TidewireError | undefined;
  #pauseMs = TRY_AGAIN_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;

  private constructor(name: string) {
    this.#name = name;
  }

  /**
   * Opens the database, or makes it, and takes it from whoever has it open. Rejects with `unsupported` where IndexedDB
   * is missing, forbidden, or has what a newer version has stored; with `quota` or `internal` when it fails.
   */
  static async open(database: string): Promise<IndexedFiles> {
    const files = new IndexedFiles(database);
    const opened = await files.#connect();
    try {
      for (const content of await takeOver(opened, files.#owner)) {
        files.#named.set(content.name, content);
        files.#lastId = Math.max(files.#lastId, content.id);
      }
    } catch (error) {
      opened.close();
      throw toFailure(error);
    }
    return files;
  }

  /** Whether there is something that may not be stored. */
  get isDirty(): boolean {
    return this.#storing !== undefined || this.#hasChanges;
  }

  get #hasChanges(): boolean {
    return this.#unstored.changes.size > 0 || this.#unstored.removed.size > 0;
  }

  /**
   * Is fulfilled when all that was written before is stored. Rejects with `quota` or `internal` when it is not: it is
   * kept and tried again, by itself too, and until then nothing more can be written. Rejects with `leader_changed` for
   * ever when somebody else has opened or removed the database.
   */
  flush(): Promise<void> {
    if (this.#end) return Promise.reject(this.#end);
    if (this.#next) return this.#next;
    if (!this.#storing) return this.#hasChanges ? this.#begin() : Promise.resolve();
    if (!this.#hasChanges) return this.#storing;
    const begin = (): Promise<void> => {
      this.#next = undefined;
      return this.#begin();
    };
    this.#next = this.#storing.then(begin, begin);
    return this.#next;
  }

  /** Flushes, and closes the database whether that was possible or not. Nothing is stored after that. */
  async end(): Promise<void> {
    try {
      await this.flush();
    } finally {
      this.#finish(new TidewireError("cancelled", "the files are closed"));
    }
  }

  open(name: string, create: boolean): number | undefined {
    let content = this.#named.get(name);
    if (!content) {
      if (!create) return undefined;
      content = this.#make(name);
    }
    this.#lastFile += 1;
    this.#open.set(this.#lastFile, content);
    return this.#lastFile;
  }

  close(file: number): void {
    this.#open.delete(file);
  }

  read(file: number, into: Uint8Array, at: number): number {
    const { blocks, size } = this.#content(file);
    const length = Math.max(0, Math.min(into.length, size - at));
    for (const { number, from, start, end } of pieces(at, length)) {
      const block = blocks.get(number);
      if (block) into.set(block.subarray(from, from + end - start), start);
      else into.fill(0, start, end);
    }
    return length;
  }

  write(file: number, bytes: Uint8Array, at: number): void {
    this.#check();
    const content = this.#content(file);
    const changes = this.#changes(content);
    for (const { number, from, start, end } of pieces(at, bytes.length)) {
      let block = content.blocks.get(number);
      if (!block) content.blocks.set(number, (block = new Uint8Array(BLOCK_BYTES)));
      block.set(bytes.subarray(start, end), from);
      changes.blocks.add(number);
    }
    content.size = Math.max(content.size, at + bytes.length);
  }

  truncate(file: number, size: number): void {
    const content = this.#content(file);
    if (size > content.size) this.#check();
    const changes = this.#changes(content);
    const count = Math.ceil(size / BLOCK_BYTES);
    for (const number of content.blocks.keys()) {
      if (number >= count) content.blocks.delete(number);
    }
    changes.cutAt = Math.min(changes.cutAt, count);
    const last = content.blocks.get(count - 1);
    if (last && size % BLOCK_BYTES > 0) {
      // What is behind it must read as zeros when it grows again.
      last.fill(0, size % BLOCK_BYTES);
      changes.blocks.add(count - 1);
    }
    content.size = size;
  }

  /** That is what a flush is for: nothing is told to anybody, and nothing is sent, before one. */
  sync(): void {}

  size(file: number): number {
    return this.#content(file).size;
  }

  exists(name: string): boolean {
    return this.#named.has(name);
  }

  remove(name: string): void {
    const content = this.#named.get(name);
    if (!content) return;
    this.#named.delete(name);
    content.isRemoved = true;
    this.#unstored.changes.delete(content);
    this.#unstored.removed.add(content.id);
  }

  copy(from: string, to: string): void {
    this.#check();
    const content = this.#named.get(from);
    if (!content) throw new Error(`there is no file ${from}`);
    this.remove(to);
    const made = this.#make(to);
    const changes = this.#changes(made);
    for (const [number, block] of content.blocks) {
      made.blocks.set(number, block.slice());
      changes.blocks.add(number);
    }
    made.size = content.size;
  }

  #make(name: string): Content {
    // Never that of another one that is stored still.
    this.#lastId += 1;
    const content = { id: this.#lastId, name, blocks: new Map(), size: 0, isRemoved: false };
    this.#named.set(name, content);
    this.#changes(content);
    return content;
  }

  #content(file: number): Content {
    const content = this.#open.get(file);
    if (!content) throw new Error("the file is not open");
    return content;
  }

  #changes(content: Content): Changes {
    let changes = this.#unstored.changes.get(content);
    if (!changes) {
      changes = { blocks: new Set(), cutAt: Infinity };
      if (!content.isRemoved) this.#unstored.changes.set(content, changes);
    }
    return changes;
  }

  /** Throws when nothing more can be written. What is in memory and not stored would only become more. */
  #check(): void {
    const why = this.#end ?? this.#trouble;
    if (why) throw why;
  }

  #begin(): Promise<void> {
    this.#storing = this.#store().finally(() => {
      this.#storing = undefined;
    });
    return this.#storing;
  }

  async #store(): Promise<void> {
    if (this.#end) throw this.#end;
    let step: Step | undefined;
    try {
      const database = this.#database ?? (await this.#connect());
      step = this.#unstored;
      this.#unstored = { changes: new Map(), removed: new Set() };
      await commit(database, this.#owner, step);
    } catch (error) {
      if (step) this.#keep(step);
      throw this.#failed(toFailure(error));
    }
    this.#trouble = undefined;
    this.#pauseMs = TRY_AGAIN_MS;
    clearTimeout(this.#timer);
  }

  /** What could not be stored is stored with what has come since. */
  #keep({ changes, removed }: Step): void {
    for (const id of removed) this.#unstored.removed.add(id);
    for (const [content, { blocks, cutAt }] of changes) {
      if (content.isRemoved) continue;
      const since = this.#changes(content);
      for (const number of blocks) since.blocks.add(number);
      since.cutAt = Math.min(since.cutAt, cutAt);
    }
  }

  #failed(error: TidewireError): TidewireError {
    if (this.#end) return error;
    if (error.code === "leader_changed") {
      this.#finish(error);
      return error;
    }
    const code = error.code === "quota" ? "ENOSPC" : "EIO";
    this.#trouble = Object.assign(new Error(error.message), { code });
    // Some browsers lose the connection to a database, and answer nothing over it any more.
    if (code === "EIO") this.#disconnect();
    // SQLite is refused until this succeeds, so nobody else would try.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush().catch(() => undefined), this.#pauseMs);
    this.#pauseMs = Math.min(2 * this.#pauseMs, TRY_AGAIN_MS_MAX);
    return error;
  }

  #finish(why: TidewireError): void {
    this.#end ??= why;
    clearTimeout(this.#timer);
    this.#disconnect();
  }

  /** What is under way is done still. */
  #disconnect(): void {
    this.#database?.close();
    this.#database = undefined;
  }

  async #connect(): Promise<IDBDatabase> {
    const database = await connect(this.#name);
    // Somebody wants to remove it, and would wait for this one.
    database.onversionchange = () => this.#finish(taken());
    database.onclose = () => {
      if (this.#database === database) this.#disconnect();
    };
    if (this.#end) {
      database.close();
      throw this.#end;
    }
    this.#database = database;
    return database;
  }
}

/** The parts of so many bytes from a place on, each in a block of its own. */
function* pieces(at: number, length: number): Generator<{ number: number; from: number; start: number; end: number }> {
  for (let start = 0; start < length; ) {
    const from = (at + start) % BLOCK_BYTES;
    const end = Math.min(length, start + BLOCK_BYTES - from);
    yield { number: Math.floor((at + start) / BLOCK_BYTES), from, start, end };
    start = end;
  }
}

async function connect(name: string): Promise<IDBDatabase> {
  try {
    return await request(name);
  } catch (error) {
    // So it is where a browser has it and lets nobody use it, as in private windows of some.
    const isForbidden = (error as { name?: unknown } | null)?.name === "InvalidStateError";
    throw isForbidden ? new TidewireError("unsupported", toFailure(error).message) : toFailure(error);
  }
}

function request(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    if (typeof indexedDB === "undefined") {
      throw new TidewireError("unsupported", "this browser has neither private files nor IndexedDB here");
    }
    const opening = indexedDB.open(name, FORMAT);
    let isLate = false;
    const late = setTimeout(() => {
      isLate = true;
      reject(new Error("the browser does not open the database"));
    }, OPEN_WITHIN_MS);
    opening.onupgradeneeded = () => STORES.forEach((store) => opening.result.createObjectStore(store));
    opening.onsuccess = () => {
      clearTimeout(late);
      if (isLate) opening.result.close();
      else resolve(opening.result);
    };
    opening.onerror = () => {
      clearTimeout(late);
      reject(opening.error);
    };
  });
}

/**
 * A transaction that writes. It is done when the system has it, and not the disk: the end of the browser loses nothing
 * of it, and a power cut may lose the last ones, but not some before others. So it is with SQLite's journal, which is
 * not synced at each commit either (`synchronous = NORMAL`).
 */
function begin(database: IDBDatabase): IDBTransaction {
  return database.transaction([...STORES], "readwrite", { durability: "relaxed" });
}

/** Makes it this one's, and reads all files as they are then: whoever had it before adds nothing to them. */
function takeOver(database: IDBDatabase, owner: string): Promise<Content[]> {
  return new Promise((resolve, reject) => {
    const transaction = begin(database);
    const contents: Content[] = [];
    transaction.oncomplete = () => resolve(contents);
    transaction.onabort = () => reject(transaction.error);
    transaction.objectStore("owner").put(owner, "owner");
    const files = transaction.objectStore("files");
    const [ids, described] = [files.getAllKeys(), files.getAll()];
    described.onsuccess = () => {
      for (const [at, { name, size }] of described.result.entries()) {
        const content: Content = { id: ids.result[at] as number, name, size, blocks: new Map(), isRemoved: false };
        contents.push(content);
        readBlocks(transaction.objectStore("blocks"), content);
      }
    };
  });
}

function readBlocks(store: IDBObjectStore, { id, blocks, size }: Content): void {
  for (let from = 0; from < Math.ceil(size / BLOCK_BYTES); from += BLOCKS_AT_ONCE) {
    const range = IDBKeyRange.bound([id, from], [id, from + BLOCKS_AT_ONCE], false, true);
    const [keys, found] = [store.getAllKeys(range), store.getAll(range)];
    found.onsuccess = () => {
      for (const [at, block] of found.result.entries()) blocks.set((keys.result[at] as [number, number])[1], block);
    };
  }
}

/** Stores it, all or nothing, if this one is the owner. All of it is copied before this returns. */
function commit(database: IDBDatabase, owner: string, { changes, removed }: Step): Promise<void> {
  return new Promise((resolve, reject) => {
    const transaction = begin(database);
    let why: unknown;
    const undo = (error: unknown): void => {
      why = error;
      transaction.abort();
    };
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(why ?? transaction.error);
    // It is not committed before this has been looked at, so what follows need not wait for it.
    const current = transaction.objectStore("owner").get("owner");
    current.onsuccess = () => {
      if (current.result !== owner) undo(taken());
    };
    try {
      const [files, blocks] = [transaction.objectStore("files"), transaction.objectStore("blocks")];
      for (const id of removed) {
        files.delete(id);
        blocks.delete(blocksFrom(id, 0));
      }
      for (const [{ id, name, size, blocks: all }, { blocks: changed, cutAt }] of changes) {
        files.put({ name, size }, id);
        if (cutAt < Infinity) blocks.delete(blocksFrom(id, cutAt));
        for (const number of changed) {
          const block = all.get(number);
          if (block) blocks.put(block, [id, number]);
        }
      }
    } catch (error) {
      undo(error);
    }
  });
}

/** The blocks of a file from this one on. */
function blocksFrom(id: number, number: number): IDBKeyRange {
  // Behind every number there are arrays.
  return IDBKeyRange.bound([id, number], [id, []]);
}

function taken(): TidewireError {
  const message = "another page of this site has opened the replica, or it was removed: what is new here is not kept";
  return new TidewireError("leader_changed", message);
}

/** What a browser says. */
function toFailure(error: unknown): TidewireError {
  if (error instanceof TidewireError) return error;
  const name = (error as { name?: unknown } | null)?.name;
  // Not every one has a sentence for it.
  const message = `IndexedDB: ${messageOf(error) || name}`;
  switch (name) {
    case "QuotaExceededError":
      return new TidewireError("quota", `there is no room for the replica (${message})`);
    case "SecurityError":
    case "VersionError":
      return new TidewireError("unsupported", message);
    default:
      return new TidewireError("internal", message);
  }
}
