/** Tab comes to one message, and arrows go from one to the next. */

import { type KeyboardEvent, useCallback, useState } from "react";

import type { Message } from "../data/messages.js";
import { focusOn } from "./message.js";

export interface Roving {
  /** The message that Tab comes to. */
  readonly current: string | undefined;
  readonly setCurrent: (id: string) => void;
  readonly onKeyDown: (event: KeyboardEvent) => void;
}

export function useRoving(messages: readonly Message[]): Roving {
  const [chosen, setChosen] = useState<string | null>(null);
  const at = messages.findIndex(({ id }) => id === chosen);
  const current = (at < 0 ? messages.at(-1) : messages[at])?.id;
  const onKeyDown = useCallback(
    (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      // In a field the arrows move in its text.
      if (target.matches("textarea, input")) return;
      const id = target.closest<HTMLElement>("[data-message]")?.dataset["message"];
      const from = messages.findIndex((message) => message.id === id);
      const places: Record<string, number> = { ArrowUp: from - 1, ArrowDown: from + 1, Home: 0, End: messages.length - 1 };
      const to = messages[places[event.key] ?? -1];
      if (!to || from < 0) return;
      event.preventDefault();
      focusOn(to.id);
    },
    [messages],
  );
  return { current, setCurrent: setChosen, onKeyDown };
}
