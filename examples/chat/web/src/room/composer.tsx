/** Where the user writes. */

import { useTidewire } from "@tidewire/react";
import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";

import { say } from "../data/messages.js";
import { useSettings } from "../data/own.js";
import { useTypes } from "../data/people.js";
import { useGrowing } from "../ui/growing.js";
import { Icon } from "../ui/icons.js";
import { useDraftText } from "./draft.js";

const LENGTH_MAX = 8_000;

export function Composer({ room, user }: { room: string; user: string }) {
  const client = useTidewire();
  const { text, write, clear } = useDraftText(room);
  const { types, stops } = useTypes(room, user);
  const { settings } = useSettings();
  const [error, setError] = useState<string | null>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  useGrowing(field, text);
  useEffect(() => {
    // On a phone it would open the keyboard over what is to be read.
    if (matchMedia("(pointer: fine)").matches && !location.hash.includes("/", 2)) field.current?.focus();
  }, []);

  const send = async (): Promise<void> => {
    const body = text.trim();
    if (body === "") return;
    clear();
    stops();
    try {
      await say(client, room, body);
      setError(null);
    } catch (thrown) {
      // It is not stored: what was written must not be lost.
      write(body);
      setError(thrown instanceof Error ? thrown.message : String(thrown));
    }
    field.current?.focus();
  };
  const press = (event: KeyboardEvent): void => {
    const isWanted = settings.enterSends ? !event.shiftKey : event.ctrlKey || event.metaKey;
    if (event.key !== "Enter" || !isWanted || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void send();
  };
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    void send();
  };
  return (
    <form className="composer" onSubmit={submit} aria-label="Write a message">
      {error !== null && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
      <div className="composer-row">
        <textarea
          ref={field}
          rows={1}
          dir="auto"
          aria-label={`Message to ${room}`}
          placeholder="Write a message"
          maxLength={LENGTH_MAX}
          enterKeyHint={settings.enterSends ? "send" : "enter"}
          value={text}
          onKeyDown={press}
          onBlur={stops}
          onChange={({ target }) => {
            write(target.value);
            if (target.value !== "") types();
          }}
        />
        <button type="submit" className="send" aria-label="Send" disabled={text.trim() === ""}>
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}
