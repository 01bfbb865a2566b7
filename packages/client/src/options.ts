/** How a client is set up. */

import type { CoreConfig, LogLevel } from "./core.js";
import { invalid } from "./errors.js";
import type { StorageStatus } from "./status.js";

/** How a client is set up. All times are in milliseconds. */
export interface ClientOptions {
  /**
   * Where the server is: `https:`, `wss:`, or for development `http:` or `ws:`. Of several addresses of the same server
   * the next one is tried when one cannot be reached.
   */
  url: string | readonly string[];
  /** Whose replica it is: the `sub` of the tokens. Each user of a device has their own. */
  user: string;
  /**
   * Is called whenever a token of that user is needed; none is stored. What it throws is shown in the status, so it
   * must have no secret in it, and is tried again later.
   */
  token: () => Promise<string> | string;
  /** By which the replica of this server is known, whatever its address is. Without it that is the first address. */
  name?: string | undefined;
  /** The number of the application's own version: the server may ask for a newer one, with `update_required`. */
  appVersion?: number | undefined;
  /**
   * How often each subscription is compared with the server by itself, in time that the client runs: 24 hours without;
   * `null` is never.
   */
  verifyEvery?: number | null | undefined;
  /** How long a server that is there may owe something before the connection is made anew: a minute without. */
  stalledAfter?: number | undefined;
  /** Whether the browser is asked not to clear the replica by itself; it is, without. Some ask the user. */
  persist?: boolean | undefined;
  /**
   * Whether the browser asks the user before this page is left while something that was written on it is not decided.
   * Without it that is so where the browser has not promised to keep what is stored: see {@link StorageStatus}.
   */
  warnOnLeave?: boolean | undefined;
  /**
   * In Node: the directory of the replicas, one file for each user. It is made where there is none, and one client has
   * it at a time. Without it the replica is in memory, and what has not been sent goes with the process. A browser has
   * none.
   */
  directory?: string | undefined;
  /** Takes lines for a log. None has the value of a row or a token in it. */
  log?: ((level: LogLevel, line: string) => void) | undefined;
}

/** Asks the application for a token. Rejects with `invalid_request` when it gives something else. */
export async function tokenOf({ token }: ClientOptions): Promise<string> {
  // The types say so, and not every application has them.
  const given: unknown = await token();
  if (typeof given === "string") return given;
  const what = given === null ? "null" : typeof given;
  throw invalid(`the token callback has returned ${what}: return the token, as a string`);
}

/** Whether the user is to be asked before what waits is left. */
export function warnsOnLeave({ warnOnLeave }: ClientOptions, { kind, isPersistent }: StorageStatus): boolean {
  return warnOnLeave ?? (kind !== "file" && isPersistent !== true);
}

/** Makes the options ready for the worker. Throws `invalid_request`. */
export function toConfig(options: ClientOptions, directory: string | null): CoreConfig {
  const { url, user, token, name, appVersion, verifyEvery, stalledAfter } = options;
  const servers = typeof url === "string" ? [url] : [...url];
  if (servers.length === 0) throw invalid("there is no url: say where the server is");
  if (typeof user !== "string" || user === "") throw invalid("there is no user: say whose replica it is");
  if (typeof token !== "function") throw invalid("there is no token: give a function that returns one");
  const config: CoreConfig = { servers: servers.map(absolute), user, directory };
  if (name !== undefined) config.name = name;
  if (appVersion !== undefined) config.appVersion = appVersion;
  if (verifyEvery !== undefined) config.verifyEveryMs = verifyEvery;
  if (stalledAfter !== undefined) config.stallAfterMs = stalledAfter;
  return config;
}

/** A server behind the origin of the page may be named by a path alone. */
function absolute(url: string): string {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  let made: URL;
  try {
    made = new URL(url, base);
  } catch {
    throw invalid(`the url ${url} is none: write it like https://sync.example.com`);
  }
  if (!["http:", "https:", "ws:", "wss:"].includes(made.protocol)) {
    throw invalid(`the url ${url} is none of a server: it begins with https: or wss:`);
  }
  // As it was given, since it may name the replica.
  return made.href === url || made.href === `${url}/` ? url : made.href;
}
