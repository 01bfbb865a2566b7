/** Whether somebody sees the page. */

import { useSyncExternalStore } from "react";

export function useIsVisible(): boolean {
  return useSyncExternalStore(follow, () => document.visibilityState === "visible");
}

function follow(follower: () => void): () => void {
  document.addEventListener("visibilitychange", follower);
  return () => document.removeEventListener("visibilitychange", follower);
}
