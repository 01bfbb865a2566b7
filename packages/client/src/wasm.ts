/** The WebAssembly's module. It is apart from `core.ts`, whose types applications see: they may have no DOM. */

import type { Core, CoreConfig, CoreFiles, CoreHost } from "./core.js";

/** What it exports. */
export interface Wasm {
  /** Makes it ready. It is called once. */
  default(from: { module_or_path: WebAssembly.Module }): Promise<unknown>;
  /** Without `files` the replica is on the private files of the origin. */
  Core: { open(config: CoreConfig, host: CoreHost, files?: CoreFiles): Promise<Core> };
}
