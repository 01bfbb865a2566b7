/** A room in the list. */

import { toDate } from "@tidewire/client";
import { memo } from "react";

import type { Room } from "../data/rooms.js";
import { colourOf } from "../ui/avatar.js";
import { Icon } from "../ui/icons.js";
import { addressOf } from "../ui/route.js";
import { brief } from "../ui/time.js";

interface RoomItemProps {
  readonly room: Room;
  readonly isOpen: boolean;
  /** How many writes in it were refused. */
  readonly failed: number;
}

export const RoomItem = memo(function RoomItem({ room, isOpen, failed }: RoomItemProps) {
  const { name, unread, mentions, draft, isWaiting, lastAt } = room;
  // What is read is what is seen: the open room is being read.
  const fresh = isOpen ? 0 : unread;
  return (
    <li>
      <a className={`room-item${fresh > 0 ? " is-unread" : ""}`} href={addressOf(name)} aria-current={isOpen ? "page" : undefined}>
        <span className={`room-sign colour-${colourOf(name)}`} aria-hidden="true">
          <Icon name="hash" />
        </span>
        <span className="room-text">
          <span className="room-name" dir="auto">
            {name}
          </span>
          <span className="room-last" dir="auto">
            {lastWords(room, isOpen ? null : draft)}
          </span>
        </span>
        <span className="room-side">
          {lastAt !== null && <time dateTime={toDate(lastAt).toISOString()}>{brief(toDate(lastAt))}</time>}
          {failed > 0 && <span className="badge is-bad">{failed} not sent</span>}
          {failed === 0 && isWaiting === 1 && <span className="badge is-quiet">waiting</span>}
          {fresh > 0 && (
            <span className={mentions > 0 ? "badge is-mention" : "badge"}>
              {mentions > 0 && "@"}
              {fresh}
              <span className="hidden"> unread</span>
            </span>
          )}
        </span>
      </a>
    </li>
  );
});

function lastWords({ lastAuthor, lastBody }: Room, draft: string | null): string {
  if (draft) return `Draft: ${draft}`;
  if (lastBody === null) return "Nothing said yet";
  return lastAuthor === null ? lastBody : `${lastAuthor}: ${lastBody}`;
}
