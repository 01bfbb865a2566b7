/** Node: worker threads, and files of the system. */

import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";

import { TidewireError, messageOf } from "../errors.js";
import type { FromWorker, ToWorker } from "../messages.js";
import type { Surroundings, WorkerPort } from "../surroundings.js";

let compiled: Promise<WebAssembly.Module> | undefined;

/** Node has no page. */
export function inNode(): Surroundings {
  return {
    check: () => undefined,
    startWorker: () => new Thread(),
    program,
    onWake: () => () => undefined,
    persist: async () => null,
    isVisible: () => true,
    onPage: () => () => undefined,
    onGone: () => () => undefined,
    warnOnLeave: () => () => undefined,
  };
}

function program(): Promise<WebAssembly.Module> {
  compiled ??= load().catch((error: unknown) => {
    compiled = undefined;
    throw new TidewireError(
      "internal",
      `the WebAssembly of the package cannot be loaded (${messageOf(error)}): leave @tidewire/client out of a bundle of ` +
        "the server, or put its folders dist and wasm beside it",
    );
  });
  return compiled;
}

async function load(): Promise<WebAssembly.Module> {
  return await WebAssembly.compile(await readFile(new URL("../../wasm/tidewire_bg.wasm", import.meta.url)));
}

/** A worker thread, as a browser would have it. */
class Thread implements WorkerPort {
  onmessage: WorkerPort["onmessage"] = null;
  onmessageerror: WorkerPort["onmessageerror"] = null;
  onerror: WorkerPort["onerror"] = null;
  readonly #worker = new Worker(new URL("./worker.js", import.meta.url), { name: "tidewire" });
  #isTerminated = false;

  constructor() {
    this.#worker.on("message", (data: FromWorker) => this.onmessage?.({ data }));
    this.#worker.on("messageerror", (error) => this.onmessageerror?.(error));
    this.#worker.on("error", (error) => this.#fail(error instanceof Error ? error.message : String(error)));
    this.#worker.on("exit", (code) => this.#fail(`its thread has ended with ${code}`));
  }

  postMessage(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  terminate(): unknown {
    this.#isTerminated = true;
    return this.#worker.terminate();
  }

  #fail(message: string): void {
    if (!this.#isTerminated) this.onerror?.({ message, preventDefault: () => undefined });
  }
}
