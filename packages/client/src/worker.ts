/** The worker of a browser. */

import type { FromWorker, ToWorker } from "./messages.js";
import { isTrap } from "./worker/failures.js";
import { storages } from "./worker/storages.js";
import { Tab } from "./worker/tab.js";

/** As much of the global scope of a dedicated worker as is used. */
interface Global {
  postMessage(message: FromWorker): void;
  close(): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
  addEventListener(type: "error", listener: (event: ErrorEvent) => void): void;
  addEventListener(type: "unhandledrejection", listener: (event: PromiseRejectionEvent) => void): void;
}

const global = globalThis as unknown as Global;

const tab = new Tab((message) => global.postMessage(message), storages(), navigator.locks, () => global.close());
global.addEventListener("message", ({ data }) => tab.receive(data));

// A trap in a task that nobody waits for is seen here alone.
const look = (reason: unknown): void => {
  if (isTrap(reason)) tab.fail(reason);
};
global.addEventListener("error", ({ error }) => look(error));
global.addEventListener("unhandledrejection", ({ reason }) => look(reason));
