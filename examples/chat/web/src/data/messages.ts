/** What is said in a room, and saying it. */

import { add, type TidewireClient } from "@tidewire/client";
import type { LiveResult, SubscriptionResult } from "@tidewire/react";
import { useLiveQuery, useSubscription, useTidewire } from "@tidewire/react";
import { useEffect, useMemo, useRef, useState } from "react";

import { MESSAGES_AT_ONCE, OF_A_ROOM } from "./tables.js";

/** A message. */
export interface Message {
  readonly id: string;
  readonly author: string;
  readonly body: string;
  /** Microseconds since 1970. */
  readonly at: number;
  /** Whether this device has seen it with another text. */
  readonly isEdited: 0 | 1;
  /** Its place among all; none as long as it is on this device only. */
  readonly seq: number | null;
  readonly likes: number;
  readonly isLiked: 0 | 1;
  /** How it is with what the user has written of it, as long as that is not decided. */
  readonly waits: "queued" | "sent" | "stuck" | null;
}

/** The order is that of the server. What is on this device only has no place yet, and is last. */
const MESSAGES = `
  SELECT * FROM (
    SELECT m.id, m.author, m.body, m.at, m._seq AS seq,
      coalesce(l.n, 0) AS likes,
      EXISTS (SELECT 1 FROM liked WHERE message = m.id) AS isLiked,
      EXISTS (SELECT 1 FROM first_bodies f WHERE f.message = m.id AND f.body <> m.body) AS isEdited,
      (SELECT p.state FROM tw_pending p WHERE p."table" = 'chat.messages' AND p.key = m.id LIMIT 1) AS waits
    FROM chat.messages m LEFT JOIN chat.likes l ON l.message = m.id
    WHERE m.room = $1
    ORDER BY m._seq IS NULL DESC, m._seq DESC, m.at DESC, m.id DESC LIMIT $2)
  ORDER BY seq IS NULL, seq, at, id`;

/** The messages of a room, from the last one back to where the user has scrolled. */
export interface Timeline {
  readonly messages: LiveResult<Message>;
  readonly subscription: SubscriptionResult;
  /** Whether there may be older ones. */
  readonly hasOlder: boolean;
  readonly isLoadingOlder: boolean;
  readonly showOlder: () => void;
}

/** The timeline of a room. */
export function useMessages(room: string): Timeline {
  const options = { fetchLast: MESSAGES_AT_ONCE };
  const subscription = useSubscription(OF_A_ROOM.messages, [room], options);
  const likes = useSubscription(OF_A_ROOM.likes, [room], options);
  const [limit, setLimit] = useState(MESSAGES_AT_ONCE);
  const messages = useKept(useLiveQuery<Message>(MESSAGES, [room, limit], { key: ["id"] }));
  const { rows, state } = messages;
  // How many were here when older ones were asked for. When no more have come by the time that all is here, it was all.
  const [asked, setAsked] = useState<number | null>(null);
  const [isWhole, setWhole] = useState(false);
  const isSettled = subscription.state === "live" && state === "live";
  useEffect(() => {
    if (asked === null) return undefined;
    if (rows.length > asked) {
      setAsked(null);
      return undefined;
    }
    if (!isSettled) return undefined;
    const wait = setTimeout(() => {
      setAsked(null);
      setWhole(true);
    }, 1_500);
    return () => clearTimeout(wait);
  }, [asked, rows.length, isSettled]);
  const showOlder = (): void => {
    if (asked !== null || subscription.state === "idle") return;
    setAsked(rows.length);
    setLimit(limit + MESSAGES_AT_ONCE);
    // What is here is shown at once, and what is not comes when there is a network.
    subscription.loadOlder(MESSAGES_AT_ONCE);
    likes.loadOlder(MESSAGES_AT_ONCE);
  };
  const hasOlder = !isWhole && rows.length >= MESSAGES_AT_ONCE;
  return { messages, subscription, hasOlder, isLoadingOlder: asked !== null, showOlder };
}

/** The rows before, while those of another parameter are being read: a list must not be empty for a moment. */
function useKept<R extends object>(result: LiveResult<R>): LiveResult<R> {
  const last = useRef(result);
  const isEmpty = result.rows.length === 0 && result.state === "loading";
  useEffect(() => {
    if (!isEmpty) last.current = result;
  });
  const { rows } = last.current;
  return useMemo(() => (isEmpty ? { ...result, rows } : result), [isEmpty, result, rows]);
}

/** Says something. The row that counts its likes is born with it, so that a like is always an addition. */
export async function say(client: TidewireClient, room: string, body: string): Promise<void> {
  const id = crypto.randomUUID();
  await client.batch([
    { insert: "chat.messages", values: { id, room, body } },
    { insert: "chat.likes", values: { message: id, room } },
  ]);
}

/** What is done with a message that is there. */
export interface MessageActions {
  edit(message: Message, body: string): Promise<unknown>;
  remove(message: Message): Promise<unknown>;
  like(message: Message): Promise<unknown>;
}

/** Editing, deleting, liking: each is shown at once, and sent by itself. */
export function useMessageActions(): MessageActions {
  const client = useTidewire();
  return useMemo(
    () => ({
      edit: ({ id }, body) =>
        client.update("chat.messages", { id }, { body }),
      remove: ({ id }) =>
        client.batch([
          { delete: "chat.messages", key: { id } },
          { delete: "chat.likes", key: { message: id } },
        ]),
      // Two who like the same message offline both count. Who has liked it is noted on this device, in the same step.
      like: ({ id, isLiked }) =>
        client.batch([
          { update: "chat.likes", key: { message: id }, set: { n: add(isLiked ? -1 : 1) } },
          isLiked
            ? { sql: "DELETE FROM liked WHERE message = $1", params: [id] }
            : { sql: "INSERT OR IGNORE INTO liked VALUES ($1)", params: [id] },
        ]),
    }),
    [client],
  );
}
