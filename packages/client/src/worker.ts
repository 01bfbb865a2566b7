/** The worker of a browser, on the private files of the origin. */

import type { FromWorker, ToWorker } from "./messages.js";
import { serve } from "./serve.js";

/** As much of the global scope of a dedicated worker as is used. */
interface Global {
  postMessage(message: FromWorker): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
  addEventListener(type: "unhandledrejection", listener: (event: PromiseRejectionEvent) => void): void;
}

const global = globalThis as unknown as Global;

serve(
  {
    post: (message) => global.postMessage(message),
    onMessage: (listener) => global.addEventListener("message", ({ data }) => listener(data)),
    onUnhandled: (listener) => global.addEventListener("unhandledrejection", ({ reason }) => listener(reason)),
  },
  {
    take,
    files: () => undefined,
    whenTaken:
      "another page of this site has the replica open, and several at once are not offered: close it, and reload",
  },
);

function take(lock: string, withinMs: number): Promise<boolean> {
  const { locks } = navigator;
  // Without them there is no private file system either, and the core says so.
  if (!locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const held = locks.request(lock, { signal: AbortSignal.timeout(withinMs) }, () => {
      resolve(true);
      return new Promise(() => undefined);
    });
    held.catch(() => resolve(false));
  });
}
