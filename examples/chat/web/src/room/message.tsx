/** A message. */

import { toDate } from "@tidewire/client";
import { type KeyboardEvent, memo, useState } from "react";

import type { Message, MessageActions } from "../data/messages.js";
import { attempt } from "../ui/attempt.js";
import { Avatar } from "../ui/avatar.js";
import { clock, whole } from "../ui/time.js";
import { Body } from "./body.js";
import { Delivery } from "./delivery.js";
import type { Placed } from "./grouping.js";
import { LikeButton, MessageTools } from "./message-tools.js";
import { MessageEditor } from "./message-editor.js";

interface MessageProps {
  readonly placed: Placed;
  readonly user: string;
  readonly isHere: boolean;
  /** Whether it is the one that Tab comes to: arrows go to the others. */
  readonly isCurrent: boolean;
  readonly isTarget: boolean;
  readonly actions: MessageActions;
  readonly onCurrent: (id: string) => void;
  readonly onDelete: (message: Message) => void;
}

export const MessageItem = memo(function MessageItem(props: MessageProps) {
  const { placed, user, isHere, isCurrent, isTarget, actions, onCurrent, onDelete } = props;
  const { message, isFirst, isLast } = placed;
  const [isEditing, setEditing] = useState(false);
  const isOwn = message.author === user;
  const at = toDate(message.at);
  const press = (event: KeyboardEvent): void => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    if (key === "l") attempt(actions.like(message));
    else if (key === "e" && isOwn) setEditing(true);
    else if (key === "delete" && isOwn) onDelete(message);
    else return;
    event.preventDefault();
  };
  const classes = ["message", isOwn && "is-own", isFirst && "is-first", isLast && "is-last", isTarget && "is-target", message.seq === null && "is-waiting"];
  return (
    <li
      className={classes.filter(Boolean).join(" ")}
      data-message={message.id}
      tabIndex={isCurrent ? 0 : -1}
      aria-label={`${isOwn ? "You" : message.author}, ${clock(at)}: ${message.body}`}
      aria-keyshortcuts={isOwn ? "L E Delete" : "L"}
      onFocus={() => onCurrent(message.id)}
      onKeyDown={press}
    >
      <div className="message-side">{!isOwn && isLast && <Avatar name={message.author} isHere={isHere} />}</div>
      <div className="message-main">
        {isFirst && !isOwn && (
          <p className="message-author" dir="auto">
            {message.author}
          </p>
        )}
        <div className="bubble">
          {isEditing ? (
            <MessageEditor
              body={message.body}
              onSave={(body) => actions.edit(message, body)}
              onEnd={() => {
                setEditing(false);
                focusOn(message.id);
              }}
            />
          ) : (
            <Body text={message.body} user={user} />
          )}
          <p className="message-foot">
            {message.isEdited === 1 && <span>edited</span>}
            <time dateTime={at.toISOString()} title={whole(at)}>
              {clock(at)}
            </time>
            {isOwn && <Delivery message={message} />}
          </p>
        </div>
        {message.likes > 0 && <LikeButton message={message} isReached={isCurrent} onLike={() => attempt(actions.like(message))} />}
      </div>
      {!isEditing && (
        <MessageTools
          message={message}
          isOwn={isOwn}
          isReached={isCurrent}
          onLike={() => attempt(actions.like(message))}
          onEdit={() => setEditing(true)}
          onDelete={() => onDelete(message)}
        />
      )}
    </li>
  );
});

/** Moves the focus to a message that is shown. */
export function focusOn(id: string): void {
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-message="${CSS.escape(id)}"]`)?.focus());
}
