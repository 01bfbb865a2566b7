/** The WebAssembly's module. It is apart from `core.ts`, whose types applications see: they may have no DOM. */

import type { Core, CoreConfig, CoreFiles, CoreHost } from "./core.js";

/** What it exports. */
export interface Wasm {
  /** Makes it ready. It is called once. */
  default(from: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  Core: {
    /**
     * Without `files` the replica is on the private files of the origin. Several may be open, and be opened at once: all
     * in one directory, and each of another user.
     *
     * Of the files of the origin the code of a {@link CoreError} says: `unsupported` that this browser has none, or not
     * here; `leader_changed` that another worker has them open, or this one has this replica; `quota` that there is no
     * room.
     */
    open(config: CoreConfig, host: CoreHost, files?: CoreFiles): Promise<Core>;
    /**
     * Lets the files of the origin go, so that another worker can open them at once, until the next one is opened here.
     * Does nothing when they are not open. Rejects with `invalid_request` while a client that is not closed has them.
     */
    letGo(): Promise<void>;
  };
}
