/** A browser. Nothing of it is touched before a client is created. */

import { TidewireError } from "./errors.js";
import type { Unsubscribe } from "./listeners.js";
import { program } from "./program.js";
import type { Surroundings, WorkerPort } from "./surroundings.js";

export const BROWSER: Surroundings = { check, startWorker, program, onWake, persist, isVisible, onPage, onGone, warnOnLeave };

function check(): void {
  if (typeof Worker === "undefined") {
    throw new TidewireError(
      "unsupported",
      "there is no Worker here: create the client in the browser, for instance in an effect, and not while a page is " +
        "rendered on a server",
    );
  }
}

function startWorker(): WorkerPort {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "tidewire" });
  // Its events have more than is used.
  return worker as unknown as WorkerPort;
}

function onWake(callback: () => void): Unsubscribe {
  const scope: { addEventListener?: unknown } = globalThis;
  if (typeof scope.addEventListener !== "function") return () => undefined;
  const seen = (): void => {
    if (document.visibilityState === "visible") callback();
  };
  globalThis.addEventListener("online", callback);
  const page = typeof document === "undefined" ? undefined : document;
  page?.addEventListener("visibilitychange", seen);
  return () => {
    globalThis.removeEventListener("online", callback);
    page?.removeEventListener("visibilitychange", seen);
  };
}

function isVisible(): boolean {
  return typeof document === "undefined" || document.visibilityState === "visible";
}

function onPage(callback: (what: "visible" | "hidden" | "away" | "back") => void): Unsubscribe {
  // In a worker of the application nobody says that it goes.
  if (typeof document === "undefined") return () => undefined;
  const seen = (): void => callback(isVisible() ? "visible" : "hidden");
  const away = (): void => callback("away");
  const back = ({ persisted }: PageTransitionEvent): void => {
    if (persisted) callback("back");
  };
  document.addEventListener("visibilitychange", seen);
  globalThis.addEventListener("pagehide", away);
  globalThis.addEventListener("pageshow", back);
  return () => {
    document.removeEventListener("visibilitychange", seen);
    globalThis.removeEventListener("pagehide", away);
    globalThis.removeEventListener("pageshow", back);
  };
}

function onGone(lock: string, callback: () => void): Unsubscribe {
  const wanting = new AbortController();
  // It is not wanted any more, or nobody may have locks here.
  navigator.locks.request(lock, { signal: wanting.signal }, callback).catch(() => undefined);
  return () => wanting.abort();
}

function warnOnLeave(): Unsubscribe {
  if (typeof document === "undefined") return () => undefined;
  const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
  globalThis.addEventListener("beforeunload", ask);
  return () => globalThis.removeEventListener("beforeunload", ask);
}

async function persist(asks: boolean): Promise<boolean | null> {
  try {
    const { storage } = navigator;
    return (await storage.persisted()) || (asks && (await storage.persist()));
  } catch {
    return null;
  }
}
