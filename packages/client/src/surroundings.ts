/** What a client is in: a browser or Node. */

import type { Unsubscribe } from "./listeners.js";
import type { FromWorker, Program, ToWorker } from "./messages.js";
import type { StorageStatus } from "./status.js";

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
  /** Where replicas are. */
  readonly storage: Exclude<StorageStatus["kind"], "none">;
}
