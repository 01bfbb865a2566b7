/** What a user has alone, on all of their devices: drafts, how far they have read, settings, who has mentioned them. */

import type { LiveResult } from "@tidewire/react";
import { useLiveQuery, useTidewire } from "@tidewire/react";
import { useCallback, useEffect, useMemo } from "react";

import { ignore } from "../ui/attempt.js";
import type { Message } from "./messages.js";

/** What is written and not said in a room: `undefined` before it is known. */
export function useDraft(room: string): { draft: string | undefined; keepDraft(body: string): Promise<unknown> } {
  const client = useTidewire();
  const { rows, state } = useLiveQuery<{ body: string }>("SELECT body FROM chat.drafts WHERE room = $1", [room]);
  const keepDraft = useCallback(
    (body: string) =>
      body === ""
        ? client.execute("DELETE FROM chat.drafts WHERE room = $1", [room])
        : client.execute(
            "INSERT INTO chat.drafts (room, body) VALUES ($1, $2) ON CONFLICT (room) DO UPDATE SET body = $2",
            [room, body],
          ),
    [client, room],
  );
  const draft = rows[0]?.body ?? (state === "loading" ? undefined : "");
  return useMemo(() => ({ draft, keepDraft }), [draft, keepDraft]);
}

/**
 * Notes up to where a room was read, while its last message is seen, and gives up to where that is: null before it is
 * known. Another device may have come further.
 */
export function useReadMark(room: string, messages: readonly Message[], isSeen: boolean): number | null {
  const client = useTidewire();
  const { rows, state } = useLiveQuery<{ seen: number }>("SELECT seen FROM chat.read_marks WHERE room = $1", [room]);
  const seen = rows[0]?.seen ?? 0;
  const newest = messages.reduce((latest, { seq, at }) => (seq === null ? latest : Math.max(latest, at)), 0);
  useEffect(() => {
    if (!isSeen || state === "loading" || newest <= seen) return;
    const mark =
      "INSERT INTO chat.read_marks (room, seen) VALUES ($1, $2) ON CONFLICT (room) DO UPDATE SET seen = max(seen, $2)";
    ignore(client.execute(mark, [room, newest]));
  }, [client, room, newest, seen, state, isSeen]);
  return state === "loading" ? null : seen;
}

/** Settings, and what they may be. */
export interface Settings {
  readonly theme: "system" | "light" | "dark";
  readonly enterSends: boolean;
}

const SETTINGS: Settings = { theme: "system", enterSends: true };

/** The settings of the user. */
export function useSettings(): {
  readonly settings: Settings;
  readonly isKnown: boolean;
  set<K extends keyof Settings>(name: K, value: Settings[K]): Promise<unknown>;
} {
  const client = useTidewire();
  const { rows, state } = useLiveQuery<{ name: string; value: string }>("SELECT name, value FROM chat.settings ORDER BY name");
  const settings = useMemo(() => {
    const kept = new Map(rows.map(({ name, value }) => [name, value]));
    const theme = kept.get("theme");
    return {
      theme: theme === "light" || theme === "dark" ? theme : SETTINGS.theme,
      enterSends: kept.get("enterSends") !== "false",
    };
  }, [rows]);
  const set = useCallback(
    <K extends keyof Settings>(name: K, value: Settings[K]) =>
      client.execute(
        "INSERT INTO chat.settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
        [name, String(value)],
      ),
    [client],
  );
  return { settings, isKnown: state !== "loading", set };
}

/** Somebody has named the user. */
export interface Mention {
  readonly message: string;
  readonly room: string;
  readonly author: string;
  readonly body: string;
  readonly at: number | null;
  readonly isNew: 0 | 1;
}

const MENTIONS = `
  SELECT n.message, n.room, n.author, n.body, m.at,
    coalesce(m.at > coalesce(k.seen, 0), 0) AS isNew
  FROM chat.mentions n
  LEFT JOIN chat.messages m ON m.id = n.message
  LEFT JOIN chat.read_marks k ON k.room = n.room
  ORDER BY n._seq DESC`;

/** Who has mentioned the user, of the last week. */
export function useMentions(): LiveResult<Mention> {
  return useLiveQuery<Mention>(MENTIONS, [], { key: ["message"] });
}
