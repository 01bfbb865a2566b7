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
  readonly #onTrap: () => void;
  readonly #shared = new Map<string, Shared>();
  readonly #guests = new Map<Guest, { shared: Shared; opening: Opening }>();
  /** Replicas that are being closed: until then nobody opens them again. */
  readonly #closing = new Map<string, Promise<void>>();
  #isOver = false;

  /** Of several storages the first is used that is supported here. After `onTrap` nothing is answered any more. */
  constructor(storages: readonly Storage[], onTrap: () => void = () => undefined) {
    this.#storages = storages;
    this.#onTrap = onTrap;
  }

  /** Opens a replica for a page, or lets it have the one that is open. */
  async open(guest: Guest, opening: Opening, module: Program): Promise<void> {
    const { config } = opening;
    const key = JSON.stringify([config.name ?? config.servers[0], config.user, config.directory]);
    const there = this.#shared.get(key);
    if (there && !there.isOver && (config.appVersion ?? 0) > there.appVersion) this.#renew(key, there, opening, module);
    const shared = this.#open(key, opening, module);
    // It may have been here, and not have heard anything for a while.
    if (this.#guests.get(guest)?.shared === shared) shared.leave(guest);
    else void this.leave(guest);
    this.#guests.set(guest, { shared, opening });
    const seat = shared.join(guest, opening.isLogged);
    const isHere = (): boolean => !this.#isOver && shared.isAt(guest, seat);
    try {
      const { storage } = await shared.opened;
      if (!isHere()) return;
      guest.post({ type: "opened", rest: shared.rest, storage: storage.kind });
      shared.welcome(guest);
    } catch (error) {
      if (isTrap(error)) {
        this.fail(error);
        return;
      }
      if (this.#shared.get(key) === shared) this.#shared.delete(key);
      if (!isHere()) return;
      this.#guests.delete(guest);
      guest.post({ type: "refused", error: plain(error) });
    }
  }

  /** Does what a page asks for. */
  async receive(guest: Guest, message: ToHost): Promise<void> {
    const shared = this.#guests.get(guest)?.shared;
    if (message.type !== "call") {
      shared?.answerToken(guest, message);
      return;
    }
    const { id, op, args } = message;
    // Otherwise it was told that it is lost, and calls again.
    const isHere = (): boolean => !this.#isOver && (op === "close" || this.#guests.get(guest)?.shared === shared);
    try {
      if (!shared) throw failure("leader_changed", "the page has no replica open here: it is opened again");
      const value = op === "close" ? await this.leave(guest) : await shared.call(guest, op, args);
      if (isHere()) guest.post({ type: "done", id, value });
    } catch (error) {
      if (isTrap(error)) this.fail(error);
      else if (isHere()) guest.post({ type: "failed", id, error: plain(error) });
    }
  }

  /** A page has gone. What nobody has open any more is closed; done when it is. */
  async leave(guest: Guest): Promise<void> {
    const shared = this.#guests.get(guest)?.shared;
    if (!shared) return;
    this.#guests.delete(guest);
    shared.leave(guest);
    const [key] = [...this.#shared].find(([, other]) => other === shared) ?? [];
    // Otherwise somebody has it still, or another one has its place.
    if (shared.isEmpty && key !== undefined) await this.#close(key, shared);
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

  /** The WebAssembly has trapped, or what is stored has gone. It is not safe to use it again. */
  fail({ message }: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const guest of this.#guests.keys()) guest.post({ type: "fatal", message });
    this.#guests.clear();
    this.#onTrap();
  }

  #open(key: string, opening: Opening, module: Program): Shared {
    const there = this.#shared.get(key);
    if (there && !there.isOver) return there;
    const made = new Shared((host) => this.#start(key, opening.config, host, module), opening);
    this.#shared.set(key, made);
    return made;
  }

  /** The same for a newer version of the application, which the server is to know of. */
  #renew(key: string, shared: Shared, { config }: Opening, module: Program): void {
    const before = [...this.#guests].filter(([, at]) => at.shared === shared);
    const { rest } = shared;
    void this.#close(key, shared);
    for (const [guest, { opening }] of before) {
      this.#guests.delete(guest);
      guest.post({ type: "lost", isTrap: false, why: null });
      void this.open(guest, { ...opening, config, rest }, module);
    }
  }

  #close(key: string, shared: Shared): Promise<void> {
    this.#shared.delete(key);
    const closed = shared.close().finally(() => {
      if (this.#closing.get(key) === closed) this.#closing.delete(key);
    });
    this.#closing.set(key, closed);
    return closed;
  }

  async #start(key: string, config: CoreConfig, host: CoreHost, module: Program): Promise<Replica> {
    await Promise.all([prepare(module), this.#closing.get(key)]);
    let why: unknown;
    for (const storage of this.#storages) {
      try {
        const files = await storage.files(config.directory);
        const open = (host: CoreHost): Promise<Core> => openCore(config, host, files);
        const core = await (storage.open ? storage.open(host, open) : open(host));
        storage.use?.((why) => this.fail(why));
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
