/** What is written and not said: it is kept, and comes to the other devices of the user. */

import { useCallback, useEffect, useRef, useState } from "react";

import { useDraft } from "../data/own.js";
import { ignore } from "../ui/attempt.js";

/** How long after the last key it is kept, in milliseconds. */
const KEEP_AFTER_MS = 400;

export interface DraftText {
  readonly text: string;
  readonly write: (text: string) => void;
  readonly clear: () => void;
}

export function useDraftText(room: string): DraftText {
  const { draft, keepDraft } = useDraft(room);
  const [text, setText] = useState("");
  /** What is written here and not kept yet. */
  const unkept = useRef<string | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const kept = useRef("");
  /** What was kept from here: it comes back as the draft, perhaps when something else is written already. */
  const own = useRef(new Set<string>());

  const flush = useCallback(() => {
    clearTimeout(timer.current);
    const { current } = unkept;
    unkept.current = null;
    if (current === null || current === kept.current) return;
    kept.current = current;
    own.current.add(current);
    // What cannot be kept is still in the field.
    ignore(keepDraft(current));
  }, [keepDraft]);

  // Another device has written, and the user is not writing here.
  useEffect(() => {
    if (draft === undefined || unkept.current !== null || draft === kept.current) return;
    if (own.current.delete(draft)) return;
    kept.current = draft;
    setText(draft);
  }, [draft]);

  // Nobody waits for the timer when the room is left or the page is hidden.
  useEffect(() => {
    document.addEventListener("visibilitychange", flush);
    return () => {
      document.removeEventListener("visibilitychange", flush);
      flush();
    };
  }, [flush]);

  const write = useCallback(
    (written: string) => {
      setText(written);
      unkept.current = written;
      clearTimeout(timer.current);
      timer.current = setTimeout(flush, KEEP_AFTER_MS);
    },
    [flush],
  );
  const clear = useCallback(() => {
    write("");
    flush();
  }, [write, flush]);
  return { text, write, clear };
}
