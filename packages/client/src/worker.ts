/**
 * The worker: it opens the core, calls what the page calls, and passes on what comes of it. There is no other
 * logic here.
 */

import * as tidewire from "../wasm/tidewire.js";

import type { Core, CoreConfig, CoreError, CoreHost } from "./core.js";
import type { FromWorker, ToWorker } from "./messages.js";
import type { Wasm } from "./wasm.js";

/** As much of the global scope of a dedicated worker as is used. */
interface Scope {
  postMessage(message: FromWorker): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
  addEventListener(type: "unhandledrejection", listener: (event: PromiseRejectionEvent) => void): void;
}

/** How long another worker may take to go, in milliseconds. */
const TAKEN_WITHIN_MS = 5_000;

/** How long its files may stay open then, in milliseconds, and how often it is looked. */
const CLOSED_WITHIN_MS = 2_000;
const LOOK_EVERY_MS = 25;

const TAKEN: CoreError = {
  code: "unsupported",
  message: "another page of this site has the replica open, and several at once are not offered: close it, and reload",
  documentation: "docs/ERRORS.md#unsupported",
  retryAfterMs: null,
};

const scope = globalThis as unknown as Scope;
const wasm = tidewire as unknown as Wasm;

let opened: Core | undefined;
let lastToken = 0;
const tokens = new Map<number, { resolve: (token: string) => void; reject: (error: Error) => void }>();

scope.addEventListener("message", ({ data }) => {
  switch (data.type) {
    case "open":
      void open(data);
      break;
    case "call":
      void call(data.id, data.op, data.args);
      break;
    case "token":
      tokens.get(data.id)?.resolve(data.token);
      tokens.delete(data.id);
      break;
    case "no_token":
      tokens.get(data.id)?.reject(new Error(data.message));
      tokens.delete(data.id);
      break;
  }
});

// A trap in a task that nobody waits for is seen here alone.
scope.addEventListener("unhandledrejection", ({ reason }) => {
  if (isTrap(reason)) scope.postMessage({ type: "fatal", message: reason.message });
});

async function open({ module, config, isLogged }: ToWorker & { type: "open" }): Promise<void> {
  const host: CoreHost = {
    token: () =>
      new Promise((resolve, reject) => {
        lastToken += 1;
        tokens.set(lastToken, { resolve, reject });
        scope.postMessage({ type: "token", id: lastToken });
      }),
    emit: (events) => scope.postMessage({ type: "events", events }),
  };
  if (isLogged) host.log = (level, line) => scope.postMessage({ type: "log", level, line });
  try {
    const [isFree] = await Promise.all([takeStorage(config.directory), wasm.default({ module_or_path: module })]);
    if (!isFree) {
      scope.postMessage({ type: "refused", error: TAKEN });
      return;
    }
    opened = await openCore(config, host);
    scope.postMessage({ type: "opened" });
  } catch (error) {
    if (isTrap(error)) scope.postMessage({ type: "fatal", message: error.message });
    else scope.postMessage({ type: "refused", error: plain(error) });
  }
}

/** The browser may close the files of a worker that has ended a moment after it has given its lock away. */
async function openCore(config: CoreConfig, host: CoreHost): Promise<Core> {
  const end = Date.now() + CLOSED_WITHIN_MS;
  for (;;) {
    try {
      return await wasm.Core.open(config, host);
    } catch (error) {
      if (isTrap(error) || plain(error).code !== "internal" || Date.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }
}

/**
 * Takes the storage for as long as this worker lives, and says whether that was possible. That a worker before has
 * ended, as by a reload, takes a moment.
 */
function takeStorage(lock: string): Promise<boolean> {
  const { locks } = navigator;
  // Without them there is no private file system either, and the core says so.
  if (!locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(TAKEN_WITHIN_MS);
    const held = locks.request(lock, { signal }, () => {
      resolve(true);
      return new Promise(() => undefined);
    });
    held.catch(() => resolve(false));
  });
}

async function call(id: number, op: string, args: unknown[]): Promise<void> {
  try {
    const methods = opened as unknown as Record<string, (...args: unknown[]) => unknown>;
    const value = await methods[op]?.(...args);
    scope.postMessage({ type: "done", id, value });
  } catch (error) {
    if (isTrap(error)) scope.postMessage({ type: "fatal", message: error.message });
    else scope.postMessage({ type: "failed", id, error: plain(error) });
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
    if (typeof code === "string") return { code, message, documentation, retryAfterMs };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: "internal", message, documentation: "docs/ERRORS.md#internal", retryAfterMs: null };
}
