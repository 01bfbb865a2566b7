/** What a client is in: a browser or Node. */

import type { Unsubscribe } from "./listeners.js";
import type { FromWorker, Program, ToWorker } from "./messages.js";

/** As much of a worker as is used. */
export interface WorkerPort {
  onmessage: ((event: { data: FromWorker }) => void) | null;
  onmessageerror: ((event: unknown) => void) | null;
  onerror: ((event: { message: string; preventDefault(): void }) => void) | null;
  postMessage(message: ToWorker): void;
  terminate(): unknown;
}

export interface Surroundings {
  /** Throws where a client cannot be. */
  check(): void;
  startWorker(): WorkerPort;
  /** The compiled WebAssembly. A worker that is started again gets the same. */
  program(): Promise<Program>;
  /** Calls back when a connection may be possible again, so that nobody waits out a pause. */
  onWake(callback: () => void): Unsubscribe;
  /** Asks that what is stored stays. `null` where nobody says. */
  persist(asks: boolean): Promise<boolean | null>;
  /** Whether somebody may see the page now. */
  isVisible(): boolean;
  /** Calls back when that changes, when the page goes, and when it comes back as it was. */
  onPage(callback: (what: "visible" | "hidden" | "away" | "back") => void): Unsubscribe;
  /** Calls back when whoever has this lock has gone. */
  onGone(lock: string, callback: () => void): Unsubscribe;
  /** Has the user asked before the page is left. */
  warnOnLeave(): Unsubscribe;
}
