/** The list of rooms, and the ways to everything that is not in one. */

import type { LiveResult } from "@tidewire/react";
import { type ReactNode, useState } from "react";

import type { Overlay } from "../chat.js";
import type { Failure } from "../data/failures.js";
import type { Mention } from "../data/own.js";
import type { Room } from "../data/rooms.js";
import { Avatar } from "../ui/avatar.js";
import { Icon } from "../ui/icons.js";
import { OtherFailures } from "./other-failures.js";
import { RoomItem } from "./room-item.js";

/** From so many on there is a field that filters them. */
const FILTER_FROM = 8;

interface RoomsProps {
  readonly user: string;
  readonly rooms: LiveResult<Room>;
  readonly open: string | null;
  readonly mentions: readonly Mention[];
  readonly failures: readonly Failure[];
  readonly onOpen: (overlay: Overlay) => void;
}

export function Rooms({ user, rooms, open, mentions, failures, onOpen }: RoomsProps) {
  const [filter, setFilter] = useState("");
  const sought = filter.trim().toLocaleLowerCase();
  const shown = rooms.rows.filter(({ name }) => name.toLocaleLowerCase().includes(sought));
  const fresh = mentions.filter(({ isNew }) => isNew).length;
  return (
    <nav className="rooms" aria-label="Rooms">
      <header className="rooms-header">
        <img src="./icon.svg" alt="" width="28" height="28" />
        <h1>Tidewire Chat</h1>
        <button type="button" className="icon-button" aria-label="New room" onClick={() => onOpen("new room")}>
          <Icon name="plus" />
        </button>
      </header>
      <div className="rooms-tools">
        <button type="button" className="search-button" onClick={() => onOpen("search")} aria-keyshortcuts="Control+K Meta+K">
          <Icon name="search" />
          <span>Search messages</span>
          <kbd aria-hidden="true">Ctrl K</kbd>
        </button>
        {rooms.rows.length >= FILTER_FROM && (
          <input
            className="filter"
            type="search"
            placeholder="Filter rooms"
            aria-label="Filter rooms"
            value={filter}
            onChange={({ target }) => setFilter(target.value)}
          />
        )}
      </div>
      <RoomList rooms={rooms} shown={shown} failures={failures} open={open} onNewRoom={() => onOpen("new room")} />
      <OtherFailures failures={failures} />
      <footer className="rooms-footer">
        <Avatar name={user} />
        <span className="rooms-user" dir="auto">
          {user}
        </span>
        <button
          type="button"
          className="icon-button"
          aria-label={fresh > 0 ? `Mentions, ${fresh} new` : "Mentions"}
          onClick={() => onOpen("mentions")}
        >
          <Icon name="mention" />
          {fresh > 0 && <span className="dot-count">{fresh}</span>}
        </button>
        <button type="button" className="icon-button" aria-label="Settings" onClick={() => onOpen("settings")}>
          <Icon name="settings" />
        </button>
      </footer>
    </nav>
  );
}

interface RoomListProps {
  readonly rooms: LiveResult<Room>;
  readonly shown: readonly Room[];
  readonly failures: readonly Failure[];
  readonly open: string | null;
  readonly onNewRoom: () => void;
}

function RoomList({ rooms, shown, failures, open, onNewRoom }: RoomListProps): ReactNode {
  if (rooms.rows.length === 0 && rooms.state === "loading") return <Loading />;
  if (rooms.rows.length === 0) {
    return (
      <div className="empty">
        <p>There is no room yet.</p>
        <button type="button" className="button is-primary" onClick={onNewRoom}>
          Make the first one
        </button>
      </div>
    );
  }
  if (shown.length === 0) return <p className="empty">No room has that in its name.</p>;
  return (
    <ul className="room-list" role="list">
      {shown.map((room) => (
        <RoomItem
          key={room.name}
          room={room}
          isOpen={room.name === open}
          failed={failures.filter((failure) => failure.room === room.name).length}
        />
      ))}
    </ul>
  );
}

function Loading() {
  return (
    <div className="room-list" role="status" aria-label="Rooms are loading">
      {[64, 48, 72, 56].map((width) => (
        <div key={width} className="skeleton-row" aria-hidden="true">
          <span className="skeleton is-round" />
          <span className={`skeleton is-${width}`} />
        </div>
      ))}
    </div>
  );
}
