/** Asks before a message is deleted. */

import { useState } from "react";

import type { Message, MessageActions } from "../data/messages.js";
import { Dialog } from "../ui/dialog.js";

export function DeleteDialog({ message, actions, onClose }: { message: Message; actions: MessageActions; onClose: () => void }) {
  const [error, setError] = useState<string | null>(null);
  const remove = async (): Promise<void> => {
    try {
      await actions.remove(message);
      onClose();
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : String(thrown));
    }
  };
  return (
    <Dialog title="Delete this message?" onClose={onClose}>
      <blockquote className="quote" dir="auto">
        {message.body}
      </blockquote>
      <p className="soft">It goes from the devices of everybody.</p>
      {error !== null && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
      <div className="buttons">
        <button type="button" className="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" className="button is-danger" onClick={() => void remove()}>
          Delete
        </button>
      </div>
    </Dialog>
  );
}
