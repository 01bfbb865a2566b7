/** The Tidewire SDK in Node: the same client, in a worker thread, with replicas in a directory or in memory. */

import { resolve } from "node:path";

import { TidewireClient } from "../client.js";
import type { ClientOptions } from "../options.js";
import { inNode } from "./surroundings.js";

export * from "../words.js";

/** How a client is set up in Node. */
export interface NodeClientOptions extends ClientOptions {
  /**
   * The directory of the replicas, one for each user, which any SQLite program can read; it is made where there is
   * none. One worker of one process has it at a time. Without it the replica is in memory, and what has not been sent
   * goes with the process.
   */
  directory?: string | undefined;
}

/**
 * Creates a client: see {@link TidewireClient}. Throws `invalid_request` for options that cannot be. The process lives
 * as long as the client is open.
 */
export function createClient(options: NodeClientOptions): TidewireClient {
  const directory = options.directory === undefined ? null : resolve(options.directory);
  return new TidewireClient(options, inNode(directory), directory);
}
