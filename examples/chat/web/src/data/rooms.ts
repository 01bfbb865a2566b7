/** Rooms, with what is unread in them. */

import type { LiveResult } from "@tidewire/react";
import { useLiveQuery, useMutation } from "@tidewire/react";

/** A room, as the list shows it. */
export interface Room {
  readonly name: string;
  readonly unread: number;
  /** Of the user, among what is unread. */
  readonly mentions: number;
  readonly draft: string | null;
  /** Whether it is founded on this device only, so far. */
  readonly isWaiting: 0 | 1;
  readonly lastAuthor: string | null;
  readonly lastBody: string | null;
  readonly lastAt: number | null;
}

/** What is unread is counted here, by a join of messages and of how far the user has read. */
const ROOMS = `
  SELECT r.name, r._seq IS NULL AS isWaiting, d.body AS draft,
    l.author AS lastAuthor, l.body AS lastBody, l.at AS lastAt,
    (SELECT count(*) FROM chat.messages m
     WHERE m.room = r.name AND m.author <> $1 AND m.at > coalesce(k.seen, 0)) AS unread,
    (SELECT count(*) FROM chat.mentions n JOIN chat.messages m ON m.id = n.message
     WHERE n.room = r.name AND m.at > coalesce(k.seen, 0)) AS mentions
  FROM chat.rooms r
  LEFT JOIN chat.read_marks k ON k.room = r.name
  LEFT JOIN chat.drafts d ON d.room = r.name
  LEFT JOIN chat.messages l ON l.id = (
    SELECT id FROM chat.messages WHERE room = r.name ORDER BY _seq IS NULL DESC, _seq DESC, at DESC LIMIT 1)
  ORDER BY l.at DESC NULLS LAST, r.name`;

/** All rooms, those first in which something was said last. */
export function useRooms(user: string): LiveResult<Room> {
  return useLiveQuery<Room>(ROOMS, [user], { key: ["name"], whileHidden: true });
}

/** Founds a room: at once, also without a network. */
export function useFoundRoom(): (name: string) => Promise<unknown> {
  return useMutation((client, name: string) =>
    // Somebody else may have founded one of that name: then this one is rejected, and the room is there all the same.
    client.execute("INSERT INTO chat.rooms (name) VALUES ($1) ON CONFLICT DO NOTHING", [name]),
  ).write;
}
