/** The messages of a room: those of others, those of the user, and what was refused. */

import { type ReactNode, useMemo, useRef, useState } from "react";

import type { Failure } from "../data/failures.js";
import { type Message, type Timeline, useMessageActions } from "../data/messages.js";
import { useIsReached } from "../data/people.js";
import { Icon } from "../ui/icons.js";
import { DeleteDialog } from "./delete-dialog.js";
import { FailureCard } from "./failure-card.js";
import { place } from "./grouping.js";
import { MessageItem } from "./message.js";
import { useRoving } from "./roving.js";
import { useScroll } from "./scroll.js";

interface TimelineProps {
  readonly room: string;
  readonly user: string;
  readonly isThere: boolean;
  readonly timeline: Timeline;
  readonly failures: readonly Failure[];
  readonly present: ReadonlySet<string>;
  readonly target: string | null;
  /** Where what is new begins. */
  readonly firstNew: string | null;
  readonly onAtEnd: (isAtEnd: boolean) => void;
}

export function TimelineView(props: TimelineProps) {
  const { room, user, isThere, timeline, failures, present, target, firstNew, onAtEnd } = props;
  const { rows } = timeline.messages;
  const placed = useMemo(() => place(rows, firstNew), [rows, firstNew]);
  const actions = useMessageActions();
  const box = useRef<HTMLDivElement>(null);
  const { isAtEnd, toEnd, onScroll } = useScroll(box, { timeline, user, target, extra: failures.length, onAtEnd });
  const { current, setCurrent, onKeyDown } = useRoving(rows);
  const [deleting, setDeleting] = useState<Message | null>(null);
  return (
    <div className="timeline-frame">
      <div className="timeline" ref={box} onScroll={onScroll} role="region" aria-label={`Messages in ${room}`} tabIndex={rows.length === 0 ? 0 : -1}>
        <Beginning timeline={timeline} room={room} isThere={isThere} />
        <ol className="messages" role="list" aria-label="Messages" onKeyDown={onKeyDown}>
          {placed.flatMap((it) => [
            it.day !== null && <Line key={`day ${it.message.id}`}>{it.day}</Line>,
            it.isFirstNew && (
              <Line key="new" className="is-new">
                New
              </Line>
            ),
            <MessageItem
              key={it.message.id}
              placed={it}
              user={user}
              isHere={present.has(it.message.author)}
              isCurrent={it.message.id === current}
              isTarget={it.message.id === target}
              actions={actions}
              onCurrent={setCurrent}
              onDelete={setDeleting}
            />,
          ])}
        </ol>
        {failures.map((failure) => (
          <FailureCard key={failure.rejection.id} failure={failure} />
        ))}
      </div>
      {!isAtEnd && (
        <button type="button" className="to-end" aria-label="To the newest messages" onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
      {deleting && <DeleteDialog message={deleting} actions={actions} onClose={() => setDeleting(null)} />}
    </div>
  );
}

function Line({ children, className = "" }: { children: ReactNode; className?: string }) {
  return (
    <li className={`line ${className}`}>
      <span>{children}</span>
    </li>
  );
}

/** What is above the first message that is shown. */
function Beginning({ timeline, room, isThere }: { timeline: Timeline; room: string; isThere: boolean }) {
  const { messages, hasOlder, isLoadingOlder, subscription, showOlder } = timeline;
  const isReached = useIsReached();
  if (subscription.state === "refused") {
    return <p className="beginning error">The server does not give this room: {subscription.error?.message}.</p>;
  }
  if (messages.error && messages.rows.length === 0 && messages.error.code !== "not_found") {
    return <p className="beginning error">The messages cannot be read: {messages.error.message}.</p>;
  }
  if (messages.rows.length === 0 && messages.state === "loading") {
    return isReached ? <Loading /> : <p className="beginning">Nothing of this room is on this device yet. It comes when there is a network.</p>;
  }
  if (messages.rows.length === 0) {
    return (
      <p className="beginning">{isThere ? "Nothing was said here yet. Say the first words." : `There is no room of the name ${room}.`}</p>
    );
  }
  if (isLoadingOlder) {
    return (
      <p className="beginning" role="status">
        {isReached ? "Earlier messages are loading…" : "Earlier messages come when there is a network."}
      </p>
    );
  }
  if (!hasOlder) return <p className="beginning">This is where the room begins.</p>;
  return (
    <p className="beginning">
      <button type="button" className="button is-small" onClick={showOlder}>
        Show earlier messages
      </button>
    </p>
  );
}

function Loading() {
  return (
    <div className="loading" role="status" aria-label="Messages are loading">
      {[72, 56, 64].map((width) => (
        <div key={width} className="skeleton-row" aria-hidden="true">
          <span className="skeleton is-round" />
          <span className={`skeleton is-block is-${width}`} />
        </div>
      ))}
    </div>
  );
}
