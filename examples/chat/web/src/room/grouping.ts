/** Which messages stand together: of one author, one soon after the other, on one day. */

import { toDate } from "@tidewire/client";

import type { Message } from "../data/messages.js";
import { day, isSameDay } from "../ui/time.js";

/** A pause that begins a new group, in microseconds. */
const PAUSE = 5 * 60 * 1_000_000;

/** A message, and what is around it. */
export interface Placed {
  readonly message: Message;
  /** The day that begins with it. */
  readonly day: string | null;
  /** Whether what was new when the room was opened begins with it. */
  readonly isFirstNew: boolean;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

/** Places messages. `firstNew` is the id of that with which what is new begins. */
export function place(messages: readonly Message[], firstNew: string | null): readonly Placed[] {
  const marked = messages.find(({ id }) => id === firstNew);
  return messages.map((message, at) => {
    const [before, after] = [messages[at - 1], messages[at + 1]];
    const isNewDay = !before || !isSameDay(toDate(before.at), toDate(message.at));
    return {
      message,
      day: isNewDay ? day(toDate(message.at)) : null,
      isFirstNew: message === marked,
      isFirst: message === marked || !follows(before, message),
      isLast: (after !== undefined && after === marked) || !follows(message, after),
    };
  });
}

function follows(before: Message | undefined, message: Message | undefined): boolean {
  if (!before || !message || before.author !== message.author) return false;
  return message.at - before.at < PAUSE && isSameDay(toDate(before.at), toDate(message.at));
}
