/** The replicas that are open in this worker, and the pages that they are open for. */

import * as tidewire from "../../wasm/tidewire.js";

import type { Core, CoreConfig, CoreError, CoreFiles, CoreHost } from "../core.js";
import type { Opening, Program, ToHost } from "../messages.js";
import type { Wasm } from "../wasm.js";
import { failure, isTrap, plain } from "./failures.js";
import type { Guest, Replica, Storage } from "./guest.js";
import { Shared } from "./shared.js";

/** How long the files of a worker that has ended may stay open, in milliseconds, and how often it is looked. */
const CLOSED_WITHIN_MS = 2_000;
const LOOK_EVERY_MS = 10;

const USED_BEFORE = "They were used here before, and have what was written: load the page again";

const wasm = tidewire as unknown as Wasm;

let instantiated: Promise<unknown> | undefined;

/** Makes the WebAssembly ready, once for a worker. */
export function prepare(module: Program): Promise<unknown> {
  instantiated ??= wasm.default({ module_or_path: module as WebAssembly.Module });
  return instantiated;
}

export class Host {
  readonly #storages: readonly Storage[];
  readonly #shared = new Map<string, Shared>();
  readonly #guests = new Map<Guest, Shared>();
  /** Replicas that are being closed: until then nobody opens them again. */
  readonly #closing = new Map<string, Promise<void>>();
  #isOver = false;

  /** Of several storages the first is used that is supported here. */
  constructor(storages: readonly Storage[]) {
    this.#storages = storages;
  }

  /** Opens a replica for a page, or lets it have the one that is open. */
  async open(guest: Guest, opening: Opening, module: Program): Promise<void> {
    const { config } = opening;
    const key = JSON.stringify([config.name ?? config.servers[0], config.user, config.directory]);
    let shared = this.#shared.get(key);
    // It may have been here, and not have heard anything for a while.
    if (shared && this.#guests.get(guest) === shared) shared.leave(guest);
    else void this.leave(guest);
    if (!shared) {
      shared = new Shared((host) => this.#start(key, config, host, module), opening);
      this.#shared.set(key, shared);
    }
    this.#guests.set(guest, shared);
    shared.join(guest, opening.isLogged);
    try {
      const { storage } = await shared.opened;
      if (this.#guests.get(guest) !== shared) return;
      guest.post({ type: "opened", rest: shared.rest, storage: storage.kind });
      shared.welcome(guest);
    } catch (error) {
      if (this.#shared.get(key) === shared) this.#shared.delete(key);
      if (this.#guests.get(guest) !== shared) return;
      this.#guests.delete(guest);
      if (isTrap(error)) this.fail(error);
      else guest.post({ type: "refused", error: plain(error) });
    }
  }

  /** Does what a page asks for. */
  async receive(guest: Guest, message: ToHost): Promise<void> {
    const shared = this.#guests.get(guest);
    if (message.type !== "call") {
      shared?.answerToken(guest, message);
      return;
    }
    const { id, op, args } = message;
    try {
      if (!shared) throw failure("leader_changed", "the page has no replica open here: it is opened again");
      const value = op === "close" ? await this.leave(guest) : await shared.call(guest, op, args);
      if (!this.#isOver) guest.post({ type: "done", id, value });
    } catch (error) {
      if (this.#isOver) return;
      if (isTrap(error)) this.fail(error);
      else guest.post({ type: "failed", id, error: plain(error) });
    }
  }

  /** A page has gone. What nobody has open any more is closed; done when it is. */
  async leave(guest: Guest): Promise<void> {
    const shared = this.#guests.get(guest);
    if (!shared) return;
    this.#guests.delete(guest);
    shared.leave(guest);
    if (!shared.isEmpty) return;
    const [key] = [...this.#shared].find(([, other]) => other === shared) ?? [];
    if (key === undefined) return;
    this.#shared.delete(key);
    const closed = shared.close().finally(() => {
      if (this.#closing.get(key) === closed) this.#closing.delete(key);
    });
    this.#closing.set(key, closed);
    await closed;
  }

  /** Closes all of them, and answers nobody any more. */
  async end(): Promise<void> {
    this.#isOver = true;
    const all = [...this.#shared.values()];
    this.#shared.clear();
    this.#guests.clear();
    await Promise.allSettled([...all.map((shared) => shared.close()), ...this.#closing.values()]);
  }

  /** Forgets the requests of all other clients, which will not ask again. */
  async keepRequests(clients: string[]): Promise<void> {
    await Promise.allSettled([...this.#shared.values()].map((shared) => shared.keepRequests(clients)));
  }

  /** The WebAssembly has trapped. It is not safe to use it again. */
  fail({ message }: Error): void {
    this.#isOver = true;
    for (const guest of this.#guests.keys()) guest.post({ type: "fatal", message });
    this.#guests.clear();
  }

  async #start(key: string, config: CoreConfig, host: CoreHost, module: Program): Promise<Replica> {
    await Promise.all([prepare(module), this.#closing.get(key)]);
    let why: unknown;
    for (const storage of this.#storages) {
      try {
        const files = await storage.files(config.directory);
        const core = await openCore(config, host, files);
        storage.use?.();
        return { core, storage };
      } catch (error) {
        if (isTrap(error) || plain(error).code !== "unsupported") throw error;
        // Elsewhere there would be an empty replica, beside the one that has what was not sent.
        if (await storage.wasUsed?.()) throw failure("internal", `${plain(error).message}. ${USED_BEFORE}`);
        why ??= error;
      }
    }
    throw why;
  }
}

/** A browser may close the files of a worker that has ended a moment after it has given its lock away. */
async function openCore(config: CoreConfig, host: CoreHost, files: CoreFiles | undefined): Promise<Core> {
  const end = Date.now() + CLOSED_WITHIN_MS;
  for (;;) {
    try {
      return await wasm.Core.open(config, host, files);
    } catch (error) {
      if (isTrap(error) || !isPassing(plain(error)) || Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }
}

/** Whether it is what a moment mends: somebody else has the files. */
function isPassing({ code }: CoreError): boolean {
  return code === "leader_changed";
}
