/** Which room is open: it is in the address, so that it is there again after a reload, and Back goes back. */

import { useSyncExternalStore } from "react";

/** What is shown. */
export interface Route {
  readonly room: string | null;
  /** The message that is shown first. */
  readonly message: string | null;
}

/** Where the app is. */
export function useRoute(): Route {
  const hash = useSyncExternalStore(follow, () => location.hash);
  return toRoute(hash);
}

/** Goes to a room, and to one of its messages; without one to the list of rooms. */
export function goTo(room: string | null, message?: string): void {
  location.hash = room === null ? "" : `#/${encodeURIComponent(room)}${message ? `/${message}` : ""}`;
}

/** The address of a room, for a link. */
export function addressOf(room: string): string {
  return `#/${encodeURIComponent(room)}`;
}

function toRoute(hash: string): Route {
  const [, room = "", message = ""] = hash.split("/");
  try {
    return { room: decodeURIComponent(room) || null, message: message || null };
  } catch {
    return { room: null, message: null };
  }
}

function follow(follower: () => void): () => void {
  globalThis.addEventListener("hashchange", follower);
  return () => globalThis.removeEventListener("hashchange", follower);
}
