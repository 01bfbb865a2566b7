/** What can be done with a message: shown when it is pointed at, or has the focus. */

import { count } from "../data/connection.js";
import type { Message } from "../data/messages.js";
import { Icon } from "../ui/icons.js";

interface ToolsProps {
  readonly message: Message;
  readonly isOwn: boolean;
  /** Whether Tab comes to them. */
  readonly isReached: boolean;
  readonly onLike: () => void;
  readonly onEdit: () => void;
  readonly onDelete: () => void;
}

export function MessageTools({ message, isOwn, isReached, onLike, onEdit, onDelete }: ToolsProps) {
  const tabIndex = isReached ? 0 : -1;
  return (
    <div className="message-tools">
      <button
        type="button"
        className="icon-button is-small"
        tabIndex={tabIndex}
        aria-label={message.isLiked ? "Take the like back" : "Like"}
        aria-pressed={message.isLiked === 1}
        onClick={onLike}
      >
        <Icon name="heart" isFull={message.isLiked === 1} />
      </button>
      {isOwn && (
        <>
          <button type="button" className="icon-button is-small" tabIndex={tabIndex} aria-label="Edit" onClick={onEdit}>
            <Icon name="edit" />
          </button>
          <button type="button" className="icon-button is-small" tabIndex={tabIndex} aria-label="Delete" onClick={onDelete}>
            <Icon name="bin" />
          </button>
        </>
      )}
    </div>
  );
}

/** How many like it. */
export function LikeButton({ message, isReached, onLike }: { message: Message; isReached: boolean; onLike: () => void }) {
  return (
    <button
      type="button"
      className="likes"
      tabIndex={isReached ? 0 : -1}
      aria-pressed={message.isLiked === 1}
      aria-label={`${count(message.likes, "like")}${message.isLiked ? ", yours among them" : ""}`}
      onClick={onLike}
    >
      <Icon name="heart" isFull={message.isLiked === 1} />
      <span className="likes-count">{message.likes}</span>
    </button>
  );
}
