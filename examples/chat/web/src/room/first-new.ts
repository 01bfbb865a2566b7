/** Where what is new begins: as it was when the room was opened, whatever is said and read since. */

import type { LiveResult } from "@tidewire/react";
import { useState } from "react";

import type { Message } from "../data/messages.js";

/** The id of the first message that is new, if one is. `seen` is up to where the user has read, null before it is known. */
export function useFirstNew({ rows, state }: LiveResult<Message>, user: string, seen: number | null): string | null {
  const [seenBefore, setSeenBefore] = useState<number | null>(null);
  const [firstNew, setFirstNew] = useState<string | null | undefined>(undefined);
  if (seenBefore === null && seen !== null) setSeenBefore(seen);
  const found = (): string | null => {
    // Who was never here has read nothing: a line above everything would say nothing.
    if (!seenBefore) return null;
    return rows.find(({ author, at }) => author !== user && at > seenBefore)?.id ?? null;
  };
  // When all is here it is known, and what comes then is read as it comes.
  if (firstNew === undefined && seenBefore !== null && (state === "live" || state === "behind")) setFirstNew(found());
  return firstNew === undefined ? found() : firstNew;
}
