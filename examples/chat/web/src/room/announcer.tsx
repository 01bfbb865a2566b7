/** Says aloud what others say, for whoever does not see it come. */

import { useEffect, useRef, useState } from "react";

import type { Message } from "../data/messages.js";

/** What is older than this has come with the history, in microseconds. */
const NEWS_FOR = 60_000_000;

interface AnnouncerProps {
  readonly user: string;
  readonly messages: readonly Message[];
  /** Whether these are the messages of the room, and not those that were here before it was read. */
  readonly isKnown: boolean;
}

export function Announcer({ user, messages, isKnown }: AnnouncerProps) {
  const [text, setText] = useState("");
  const last = useRef<number | null>(null);
  useEffect(() => {
    if (!isKnown) return;
    const settled = messages.filter(({ seq }) => seq !== null);
    const before = last.current;
    last.current = settled.at(-1)?.seq ?? 0;
    if (before === null) return;
    const since = Date.now() * 1_000 - NEWS_FOR;
    const fresh = settled.filter(({ seq, author, at }) => (seq ?? 0) > before && author !== user && at > since);
    if (fresh.length > 0) setText(fresh.map(({ author, body }) => `${author}: ${body}`).join(". "));
  }, [messages, user, isKnown]);
  return (
    <div className="hidden" role="log" aria-live="polite" aria-label="New messages">
      {text}
    </div>
  );
}
