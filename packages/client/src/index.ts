/**
 * The Tidewire SDK for browsers. To import it touches nothing of a browser, so it can be imported on a server.
 *
 * | to find | look in |
 * | --- | --- |
 * | what applications call | `words.ts`: `client.ts`, `subscription.ts`, `watch.ts`, `diff.ts`, `mutation.ts`, `statements.ts`, `transaction.ts`, `rejection.ts`, `values.ts` |
 * | what the compiler knows of tables | `tables.ts`, and `types/`, a program that writes it |
 * | how a client is set up, and how it is | `options.ts`, `status.ts`, `errors.ts` |
 * | the worker, and the calls to it | `link.ts`, `calls.ts`, `again.ts`, `messages.ts` |
 * | what a worker does for pages; which of several has the replicas | `worker/`: `host.ts`, `shared.ts`; `tab.ts`, `leadership.ts`, `leading.ts`, `stand-in.ts`, `channel.ts`, `version.ts` |
 * | where replicas are | `worker/storages.ts`: `indexed.ts`, `gate.ts`; in Node `node/directory.ts`, `memory.ts` |
 * | browsers, Node | `surroundings.ts`: `browser.ts`, `program.ts`, `worker.ts`; `node/` |
 * | what the WebAssembly gives | `core.ts`, `wasm.ts` |
 */

import { BROWSER } from "./browser.js";
import { TidewireClient } from "./client.js";
import { invalid } from "./errors.js";
import type { ClientOptions } from "./options.js";
import type { AnyTables, TablesOf } from "./tables.js";

export * from "./words.js";

/** The folder of all replicas in the private file system of the origin, and its lock. It keeps its name for ever. */
const DIRECTORY = "tidewire";

/**
 * Creates a client: see {@link TidewireClient}. Throws `invalid_request` for options that cannot be, and `unsupported`
 * where there is no `Worker`.
 */
export function createClient<T extends TablesOf<T> = AnyTables>(options: ClientOptions): TidewireClient<T> {
  if (options.directory !== undefined) {
    throw invalid("a browser has no directories: leave that option out, the replica is on the files of the origin");
  }
  return new TidewireClient<T>(options, BROWSER, DIRECTORY);
}
