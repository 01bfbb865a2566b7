/** Who is here, and who is typing: rows that end by themselves. */

import type { TidewireClient } from "@tidewire/client";
import { useLiveQuery, useStatus, useSubscription, useTidewire } from "@tidewire/react";
import { useCallback, useEffect, useMemo, useRef } from "react";

import { ignore } from "../ui/attempt.js";
import { OF_A_ROOM } from "./tables.js";

/** Who types says so again while the row of the time before, which lives for five seconds, is there. */
const TYPING_EVERY_MS = 2_500;

/** The same of who is here, whose row lives for a minute. */
const HERE_EVERY_MS = 20_000;

interface Person {
  readonly name: string;
}

/** Everybody who is here; nobody knows without a connection, by which the rows that have ended would go. */
export function usePresent(): ReadonlySet<string> {
  const { rows } = useLiveQuery<Person>("SELECT person AS name FROM chat.presence ORDER BY person");
  const isKnown = useIsReached();
  return useMemo(() => new Set(isKnown ? rows.map(({ name }) => name) : []), [rows, isKnown]);
}

/** Says that the user is here, and in which room, while they see the page. */
export function useBePresent(room: string | null): void {
  const client = useTidewire();
  useEffect(() => {
    const tell = (): void => {
      if (document.visibilityState === "visible" && isReached(client)) now(client, PRESENT, [room]);
    };
    tell();
    const every = setInterval(tell, HERE_EVERY_MS);
    const stop = client.onStatus(tellWhenConnected(client, tell));
    document.addEventListener("visibilitychange", tell);
    return () => {
      clearInterval(every);
      stop();
      document.removeEventListener("visibilitychange", tell);
    };
  }, [client, room]);
}

const PRESENT =
  "INSERT INTO chat.presence (room, at) VALUES ($1, NOW()) ON CONFLICT (person) DO UPDATE SET room = $1, at = NOW()";
const TYPES = "INSERT INTO chat.typing (room, at) VALUES ($1, NOW()) ON CONFLICT (room, author) DO UPDATE SET at = NOW()";

/** Who else is typing in a room. */
export function useTyping(room: string, user: string): readonly string[] {
  useSubscription(OF_A_ROOM.typing, [room]);
  const { rows } = useLiveQuery<Person>(
    "SELECT author AS name FROM chat.typing WHERE room = $1 AND author <> $2 ORDER BY author",
    [room, user],
  );
  const isKnown = useIsReached();
  return useMemo(() => (isKnown ? rows.map(({ name }) => name) : []), [rows, isKnown]);
}

/** Functions that tell others that the user is typing, and that they have stopped. */
export function useTypes(room: string, user: string): { types(): void; stops(): void } {
  const client = useTidewire();
  const saidAt = useRef(-Infinity);
  const types = useCallback(() => {
    const at = performance.now();
    if (at - saidAt.current < TYPING_EVERY_MS || !isReached(client)) return;
    saidAt.current = at;
    now(client, TYPES, [room]);
  }, [client, room]);
  const stops = useCallback(() => {
    if (saidAt.current === -Infinity) return;
    saidAt.current = -Infinity;
    if (isReached(client)) now(client, "DELETE FROM chat.typing WHERE room = $1 AND author = $2", [room, user]);
  }, [client, room, user]);
  return useMemo(() => ({ types, stops }), [types, stops]);
}

/** Now or never: without a connection nobody would see it. */
function now(client: TidewireClient, sql: string, params: (string | null)[]): void {
  ignore(client.execute(sql, params, { online: true }));
}

/** Whether there is a connection. */
export function useIsReached(): boolean {
  return isReached({ status: useStatus() });
}

function isReached({ status }: Pick<TidewireClient, "status">): boolean {
  return status.word === "connected" || status.word === "behind";
}

function tellWhenConnected(client: TidewireClient, tell: () => void): () => void {
  let was = isReached(client);
  return () => {
    const is = isReached(client);
    if (is && !was) tell();
    was = is;
  };
}
