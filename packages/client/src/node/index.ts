/** The Tidewire SDK in Node: the same client, in a worker thread, with replicas in a directory or in memory. */

import { resolve } from "node:path";

import { TidewireClient } from "../client.js";
import { invalid } from "../errors.js";
import type { ClientOptions } from "../options.js";
import type { AnyTables, TablesOf } from "../tables.js";
import { inNode } from "./surroundings.js";

export * from "../words.js";

/**
 * Creates a client: see {@link TidewireClient}. Throws `invalid_request` for options that cannot be. The process lives
 * as long as the client is open.
 */
export function createClient<T extends TablesOf<T> = AnyTables>(options: ClientOptions): TidewireClient<T> {
  const { directory } = options;
  if (directory !== undefined && (typeof directory !== "string" || directory === "")) {
    throw invalid("the directory is none: give a path, or nothing for a replica in memory");
  }
  const path = directory === undefined ? null : resolve(directory);
  return new TidewireClient<T>(options, inNode(), path);
}
