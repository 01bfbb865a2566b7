/** A room: what is said in it, and what the user says. */

import { useStatus } from "@tidewire/react";
import { useState } from "react";

import { connectionOf } from "../data/connection.js";
import type { Failure } from "../data/failures.js";
import { useMessages } from "../data/messages.js";
import { useReadMark } from "../data/own.js";
import { useIsReached, usePresent, useTyping } from "../data/people.js";
import { renewal } from "../session/session.js";
import { useStore } from "../session/store.js";
import { Icon } from "../ui/icons.js";
import { goTo } from "../ui/route.js";
import { useIsVisible } from "../ui/visible.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { useFirstNew } from "./first-new.js";
import { TimelineView } from "./timeline.js";
import { TypingLine } from "./typing-line.js";

interface RoomProps {
  readonly room: string;
  readonly user: string;
  /** Whether there is a room of that name, as far as it is known. */
  readonly isThere: boolean;
  readonly message: string | null;
  readonly failures: readonly Failure[];
  readonly isPanelOpen: boolean;
  readonly onPanel: () => void;
}

export function Room({ room, user, isThere, message, failures, isPanelOpen, onPanel }: RoomProps) {
  const timeline = useMessages(room);
  const typing = useTyping(room, user);
  const present = usePresent();
  const [isAtEnd, setAtEnd] = useState(true);
  const isVisible = useIsVisible();
  const { rows } = timeline.messages;
  const firstNew = useFirstNew(timeline.messages, user, useReadMark(room, rows, isAtEnd && isVisible));
  const isReached = useIsReached();
  const others = [...present].filter((name) => name !== user).length;
  return (
    <main id="main" className="room" tabIndex={-1} aria-labelledby="room-name">
      <header className="room-header">
        <button type="button" className="icon-button back" aria-label="Back to the rooms" onClick={() => goTo(null)}>
          <Icon name="back" />
        </button>
        <div className="room-title">
          <h1 id="room-name" dir="auto">
            {room}
          </h1>
          <p className="fine">{isReached ? hereOf(others) : "What is shown is on this device"}</p>
        </div>
        <ConnectionState />
        <button
          type="button"
          className="icon-button"
          aria-label="What is happening"
          aria-expanded={isPanelOpen}
          aria-controls="panel"
          onClick={onPanel}
        >
          <Icon name="pulse" />
        </button>
      </header>
      <TimelineView
        room={room}
        user={user}
        isThere={isThere}
        timeline={timeline}
        failures={failures.filter((failure) => failure.room === room)}
        present={present}
        target={message}
        firstNew={firstNew}
        onAtEnd={setAtEnd}
      />
      <TypingLine names={typing} />
      <Announcer user={user} messages={rows} isKnown={timeline.messages.state !== "loading"} />
      <Composer room={room} user={user} />
    </main>
  );
}

function hereOf(others: number): string {
  if (others === 0) return "Nobody else is here";
  return others === 1 ? "1 other is here" : `${others} others are here`;
}

function ConnectionState() {
  const { word, kind } = connectionOf(useStatus(), useStore(renewal));
  return (
    <p className={`connection is-${kind}`}>
      <span className="connection-dot" aria-hidden="true" />
      <span className="connection-word">{word}</span>
    </p>
  );
}
