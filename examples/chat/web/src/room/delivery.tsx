/** How far a message of the user has come. */

import type { Message } from "../data/messages.js";
import { Icon } from "../ui/icons.js";

export function Delivery({ message: { waits, seq } }: { message: Message }) {
  if (waits === "stuck") return <State icon="failed" word="Stuck" isSaid />;
  if (waits === "sent") return <State icon="waiting" word="Sending" isSaid />;
  // What it was changed to waits, too.
  if (waits === "queued" || seq === null) return <State icon="waiting" word="Waiting" isSaid />;
  return <State icon="sent" word="Sent" isSaid={false} />;
}

function State({ icon, word, isSaid }: { icon: "waiting" | "sent" | "failed"; word: string; isSaid: boolean }) {
  return (
    <span className={`delivery is-${word.toLowerCase()}`}>
      <Icon name={icon} />
      <span className={isSaid ? "" : "hidden"}>{word}</span>
    </span>
  );
}
