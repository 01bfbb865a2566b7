/** Asks for the name of a new room. */

import { type FormEvent, useEffect, useRef, useState } from "react";

import { type Room, useFoundRoom } from "../data/rooms.js";
import { Dialog } from "../ui/dialog.js";
import { goTo } from "../ui/route.js";

const NAME_MAX = 60;

export function NewRoom({ rooms, onClose }: { rooms: readonly Room[]; onClose: () => void }) {
  const found = useFoundRoom();
  const [name, setName] = useState("");
  const [error, setError] = useState<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    const made = name.trim().replace(/\s+/g, " ");
    if (made === "") {
      setError("Enter a name, for instance lunch.");
      return;
    }
    try {
      if (!rooms.some((room) => room.name === made)) await found(made);
      onClose();
      goTo(made);
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : String(thrown));
    }
  };
  return (
    <Dialog title="New room" onClose={onClose}>
      <form className="stack" onSubmit={(event) => void submit(event)} noValidate>
        <label className="field">
          <span>Name</span>
          <input
            ref={input}
            maxLength={NAME_MAX}
            value={name}
            dir="auto"
            aria-invalid={error !== null}
            aria-describedby="new-room-about"
            onChange={({ target }) => setName(target.value)}
          />
        </label>
        <p id="new-room-about" className={error === null ? "fine" : "error"} role={error === null ? undefined : "alert"}>
          {error ?? "Everybody sees it. Without a network it is made as soon as there is one."}
        </p>
        <div className="buttons">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button is-primary">
            Make it
          </button>
        </div>
      </form>
    </Dialog>
  );
}
