/**
 * What the workers of the pages of a site say to each other. One of them is the leader: it has the lock, and with it
 * the replicas.
 *
 * ```text
 * all, on one channel           each on one of its own
 *   who      is there a leader?
 *   leader   I am               answer   what a leader says to the page of another worker
 *   ask      a page wants something of the leader
 *   take     the leader has let go, and gives the lock to this one
 * ```
 *
 * `who`, `leader` and `take` stay as they are for ever: pages of different versions understand them.
 */

import type { FromWorker, Opening, ToHost } from "../messages.js";
import type { Hello } from "../version.js";

/** What a page wants of the leader. */
export type Asked =
  | { type: "open"; opening: Opening; hello: Hello }
  | { type: "ping" }
  | { type: "visible"; isVisible: boolean }
  | ToHost;

/** What is said to all. */
export type Said =
  | { type: "who"; from: string; hello: Hello }
  | { type: "leader"; leader: string; hello: Hello }
  | { type: "take"; leader: string; to: string }
  | { type: "ask"; leader: string; from: string; asked: Asked };

/** What is said to one. */
export interface Answer {
  readonly leader: string;
  readonly told: FromWorker | { type: "pong" };
}

/** The lock and the channel keep this name for ever: two leaders would have the same files. */
const NAME = "tidewire";

/** How pages that are there are known. */
const PRESENCE = `${NAME}-page:`;

/** Whoever holds it has the replicas. */
export const LEADERSHIP = NAME;

/** The channel of all. */
export function openChannel(hear: (said: Said) => void): BroadcastChannel {
  const channel = new BroadcastChannel(NAME);
  channel.onmessage = ({ data }: MessageEvent<Said>) => hear(data);
  return channel;
}

/** The channel of one. */
export function openInbox(id: string, hear: (answer: Answer) => void): BroadcastChannel {
  const channel = openOutbox(id);
  channel.onmessage = ({ data }: MessageEvent<Answer>) => hear(data);
  return channel;
}

/** The same, for who speaks to it. */
export function openOutbox(id: string): BroadcastChannel {
  return new BroadcastChannel(`${NAME}:${id}`);
}

/** Held by a worker as long as it lives. */
export function presence(client: string, id: string): string {
  return `${PRESENCE}${client}:${id}`;
}

/** Holds a lock until what this gives is called, or the worker ends. Nothing where nobody may have locks. */
export function hold(locks: LockManager, name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve) => {
    locks.request(name, () => new Promise<void>((release) => resolve(release))).catch(() => resolve(undefined));
  });
}

/** The clients that are there. */
export async function presentClients(locks: LockManager): Promise<string[]> {
  const { held = [] } = await locks.query();
  const names = held.map(({ name = "" }) => name).filter((name) => name.startsWith(PRESENCE));
  return names.map((name) => name.slice(PRESENCE.length).split(":")[0] as string);
}
