/** Full-text search in what is on the device: it needs no network. */

import { useLiveQuery } from "@tidewire/react";

import { useStore } from "../session/store.js";
import { canSearch } from "./local.js";

/** A message that was found. */
export interface Found {
  readonly id: string;
  readonly room: string;
  readonly author: string;
  readonly at: number;
  /** A piece of its text, with what was looked for between {@link BEGIN} and {@link END}. */
  readonly piece: string;
}

/** Around what was looked for: characters that nobody types. */
export const BEGIN = "\u{2}";
export const END = "\u{3}";

const FOUND = `
  SELECT m.id, m.room, m.author, m.at, snippet(words, 0, char(2), char(3), '…', 16) AS piece
  FROM words JOIN chat.messages m ON m.rowid = words.rowid
  WHERE words MATCH $1 ORDER BY m.at DESC LIMIT 50`;

const NOTHING = "SELECT NULL AS id WHERE 0";

/** What has all of these words; the last one may be the beginning of one. */
export function useSearch(text: string): { found: readonly Found[]; isReady: boolean; isSearching: boolean } {
  const isReady = useStore(canSearch);
  const match = toMatch(text);
  const isAsked = isReady && match !== "";
  const { rows, state } = useLiveQuery<Found>(isAsked ? FOUND : NOTHING, isAsked ? [match] : []);
  return { found: isAsked ? rows : [], isReady, isSearching: isAsked && state === "loading" };
}

/** Each word in quotes: nothing of what a user types is an operator. */
export function toMatch(text: string): string {
  const words = text.match(/[\p{L}\p{N}\p{M}_]+/gu) ?? [];
  return words.map((word) => `"${word}"`).join(" ") + (words.length > 0 ? "*" : "");
}
