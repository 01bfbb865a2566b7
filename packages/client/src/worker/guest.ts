/** Whom a worker serves, and what with. */

import type { Core, CoreError, CoreFiles, CoreHost } from "../core.js";
import type { Unsubscribe } from "../listeners.js";
import type { FromWorker } from "../messages.js";
import type { StorageStatus } from "../status.js";

/** A page, wherever it is. */
export interface Guest {
  /** By which others know it. */
  readonly id: string;
  post(message: FromWorker): void;
}

/** Where replicas are. */
export interface Storage {
  readonly kind: Exclude<StorageStatus["kind"], "none">;
  /**
   * Its files; none where it is the private files of the origin, which the core knows. Rejects with `unsupported` where
   * there are none.
   */
  files(directory: string | null): Promise<CoreFiles | undefined>;
  /** Opens a core on them, where pages have another one than that. */
  open?(host: CoreHost, open: (host: CoreHost) => Promise<Core>): Promise<Core>;
  /** Whether this browser has it. Others may fail all the same. */
  readonly isHere?: boolean;
  /**
   * Whether another worker can have it from one that is silent: what that one does later is not stored, and it is told.
   */
  readonly canBeTaken?: boolean;
  /** Has nothing open any more, so that another worker can. What is opened later is opened again. */
  letGo?(): Promise<void>;
  /** Something is here from now on, for {@link Storage.wasUsed}. Says when it has gone, or somebody else has it. */
  use?(onGone: (why: Error) => void): void;
  /** Whether something was here before: then it is not supported for now, and not for ever. */
  wasUsed?(): Promise<boolean>;
  /** Tells why nothing can be stored for now, and `null` when it can again. */
  onTrouble?(callback: (why: CoreError | null) => void): Unsubscribe;
  /** Something may have been written. */
  touched?(): void;
  /** Is fulfilled when all that was written before is durable, where that takes a while. */
  settled?(): Promise<void>;
}

/** A replica that is open. */
export interface Replica {
  readonly core: Core;
  readonly storage: Storage;
}
