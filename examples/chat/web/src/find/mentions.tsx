/** Who has mentioned the user. */

import { toDate } from "@tidewire/client";

import type { Mention } from "../data/own.js";
import { Avatar } from "../ui/avatar.js";
import { Dialog } from "../ui/dialog.js";
import { goTo } from "../ui/route.js";
import { brief } from "../ui/time.js";

export function Mentions({ mentions, onClose }: { mentions: readonly Mention[]; onClose: () => void }) {
  return (
    <Dialog title="Mentions" className="is-wide" onClose={onClose}>
      {mentions.length === 0 && <p className="empty">Nobody has written @ and your name within the last week.</p>}
      <ul className="found" role="list">
        {mentions.map(({ message, room, author, body, at, isNew }) => (
          <li key={message}>
            <button
              type="button"
              className={`found-item${isNew ? " is-new" : ""}`}
              onClick={() => {
                onClose();
                goTo(room, message);
              }}
            >
              <Avatar name={author} size="small" />
              <span className="found-text">
                <span className="found-head">
                  <b dir="auto">{author}</b> in <span dir="auto">{room}</span>
                  {isNew === 1 && <span className="badge is-mention">new</span>}
                </span>
                <span className="found-piece" dir="auto">
                  {body}
                </span>
              </span>
              {at !== null && <time dateTime={toDate(at).toISOString()}>{brief(toDate(at))}</time>}
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
