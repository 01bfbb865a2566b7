/**
 * What a worker does: it opens the core, calls what the page calls, and passes on what comes of it. There is no other
 * logic here.
 */

import * as tidewire from "../wasm/tidewire.js";

import type { Core, CoreConfig, CoreError, CoreFiles, CoreHost } from "./core.js";
import type { FromWorker, ToWorker } from "./messages.js";
import type { Wasm } from "./wasm.js";

/** What a worker is to its page. */
export interface Scope {
  post(message: FromWorker): void;
  onMessage(listener: (message: ToWorker) => void): void;
  /** Of promises that are rejected, and that nobody waits for. */
  onUnhandled(listener: (reason: unknown) => void): void;
}

/** Where replicas are. */
export interface Storage {
  /** Takes it for as long as the worker lives, and says whether that was possible within so many milliseconds. */
  take(directory: string, withinMs: number): Promise<boolean>;
  /** Its files; none where it is the private files of the origin, which the core knows. */
  files(directory: string | null): CoreFiles | undefined;
  /** What to do about it when somebody else has it. */
  readonly whenTaken: string;
}

/** How long another worker may take to go, in milliseconds: by a reload it has ended, and that takes a moment. */
const TAKEN_WITHIN_MS = 5_000;

/** How long its files may stay open then, in milliseconds, and how often it is looked. */
const CLOSED_WITHIN_MS = 2_000;
const LOOK_EVERY_MS = 25;

const wasm = tidewire as unknown as Wasm;

/** Serves the page, until the worker ends. */
export function serve(scope: Scope, storage: Storage): void {
  const server = new Server(scope, storage);
  scope.onMessage((message) => server.receive(message));
  // A trap in a task that nobody waits for is seen here alone.
  scope.onUnhandled((reason) => {
    if (isTrap(reason)) scope.post({ type: "fatal", message: reason.message });
  });
}

class Server {
  readonly #scope: Scope;
  readonly #storage: Storage;
  #opened: Core | undefined;
  #lastToken = 0;
  readonly #tokens = new Map<number, { resolve: (token: string) => void; reject: (error: Error) => void }>();

  constructor(scope: Scope, storage: Storage) {
    this.#scope = scope;
    this.#storage = storage;
  }

  receive(message: ToWorker): void {
    switch (message.type) {
      case "open":
        void this.#open(message);
        break;
      case "call":
        void this.#call(message.id, message.op, message.args);
        break;
      case "token":
        this.#tokens.get(message.id)?.resolve(message.token);
        this.#tokens.delete(message.id);
        break;
      case "no_token":
        this.#tokens.get(message.id)?.reject(new Error(message.message));
        this.#tokens.delete(message.id);
        break;
    }
  }

  async #open({ module, config, isLogged }: ToWorker & { type: "open" }): Promise<void> {
    const host: CoreHost = {
      token: () =>
        new Promise((resolve, reject) => {
          this.#lastToken += 1;
          this.#tokens.set(this.#lastToken, { resolve, reject });
          this.#scope.post({ type: "token", id: this.#lastToken });
        }),
      emit: (events) => this.#scope.post({ type: "events", events }),
    };
    if (isLogged) host.log = (level, line) => this.#scope.post({ type: "log", level, line });
    try {
      const { directory } = config;
      const taken = directory === null ? true : this.#storage.take(directory, TAKEN_WITHIN_MS);
      const [isFree] = await Promise.all([taken, wasm.default({ module_or_path: module as WebAssembly.Module })]);
      if (!isFree) {
        this.#scope.post({ type: "refused", error: failure("unsupported", this.#storage.whenTaken) });
        return;
      }
      this.#opened = await openCore(config, host, this.#storage.files(directory));
      this.#scope.post({ type: "opened" });
    } catch (error) {
      if (isTrap(error)) this.#scope.post({ type: "fatal", message: error.message });
      else this.#scope.post({ type: "refused", error: plain(error) });
    }
  }

  async #call(id: number, op: string, args: unknown[]): Promise<void> {
    try {
      const methods = this.#opened as unknown as Record<string, (...args: unknown[]) => unknown>;
      const value = await methods[op]?.(...args);
      this.#scope.post({ type: "done", id, value });
    } catch (error) {
      if (isTrap(error)) this.#scope.post({ type: "fatal", message: error.message });
      else this.#scope.post({ type: "failed", id, error: plain(error) });
    }
  }
}

/** A browser may close the files of a worker that has ended a moment after it has given its lock away. */
async function openCore(config: CoreConfig, host: CoreHost, files: CoreFiles | undefined): Promise<Core> {
  const end = Date.now() + CLOSED_WITHIN_MS;
  for (;;) {
    try {
      return await wasm.Core.open(config, host, files);
    } catch (error) {
      if (isTrap(error) || plain(error).code !== "internal" || Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }
}

/** Whether the WebAssembly has ended in the middle of something. It is not safe to use it again. */
function isTrap(error: unknown): error is WebAssembly.RuntimeError {
  return error instanceof WebAssembly.RuntimeError;
}

/** What can be posted, whatever was thrown. */
function plain(error: unknown): CoreError {
  if (typeof error === "object" && error !== null && "code" in error && "message" in error) {
    const { code, message, documentation, retryAfterMs } = error as CoreError;
    if (typeof code === "string" && typeof documentation === "string") {
      return { code, message, documentation, retryAfterMs };
    }
  }
  return failure("internal", error instanceof Error ? error.message : String(error));
}

function failure(code: string, message: string): CoreError {
  return { code, message, documentation: `docs/ERRORS.md#${code}`, retryAfterMs: null };
}
