/** What has changed in the tables, as it comes: the difference between two results of a watch. */

import { useTidewire } from "@tidewire/react";
import { useEffect, useState } from "react";

/** What one step has changed in a table. */
export interface Delta {
  readonly number: number;
  readonly at: Date;
  readonly table: string;
  readonly inserted: number;
  readonly updated: number;
  readonly removed: number;
}

/** Each with the columns in which a change is one. */
const WATCHED = {
  messages: "SELECT id, body, _seq FROM chat.messages",
  likes: "SELECT message, n FROM chat.likes",
  typing: "SELECT room, author, at FROM chat.typing",
  presence: "SELECT person, at FROM chat.presence",
  drafts: "SELECT room, body FROM chat.drafts",
  read_marks: "SELECT room, seen FROM chat.read_marks",
} as const;

const DELTAS_MAX = 6;

/** The last ones, the latest first. */
export function useDeltas(): readonly Delta[] {
  const client = useTidewire();
  const [deltas, setDeltas] = useState<readonly Delta[]>([]);
  useEffect(() => {
    let number = 0;
    const stops = Object.entries(WATCHED).map(([table, sql]) => {
      let isFirst = true;
      return client.watch(sql).onResult(({ diff, state }) => {
        const [inserted, updated, removed] = [diff.inserted.length, diff.updated.length, diff.removed.length];
        // With the first result everything is new.
        const isNews = !isFirst && inserted + updated + removed > 0;
        if (state !== "loading") isFirst = false;
        if (!isNews) return;
        number += 1;
        const delta = { number, at: new Date(), table, inserted, updated, removed };
        setDeltas((before) => [delta, ...before].slice(0, DELTAS_MAX));
      });
    });
    return () => {
      for (const stop of stops) stop();
    };
  }, [client]);
  return deltas;
}
