/** Looks for messages on this device. */

import { toDate } from "@tidewire/client";
import { Fragment, type KeyboardEvent, useDeferredValue, useEffect, useId, useRef, useState } from "react";

import { BEGIN, END, type Found, useSearch } from "../data/search.js";
import { Avatar } from "../ui/avatar.js";
import { Dialog } from "../ui/dialog.js";
import { goTo } from "../ui/route.js";
import { brief } from "../ui/time.js";

export function Search({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const { found, isReady, isSearching } = useSearch(useDeferredValue(text.trim()));
  const field = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const hint = useId();
  useEffect(() => field.current?.focus(), []);
  const open = ({ room, id }: Found): void => {
    onClose();
    goTo(room, id);
  };
  // From the field into the list, and within it.
  const press = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    const stops = [field.current, ...(list.current?.querySelectorAll("button") ?? [])];
    const next = stops[stops.indexOf(document.activeElement as HTMLInputElement) + step];
    event.preventDefault();
    next?.focus();
  };
  return (
    <Dialog title="Search messages" className="is-wide" onClose={onClose}>
      <div className="search" onKeyDown={press}>
        <input
          ref={field}
          className="search-field"
          // A field of the type search would take Escape for itself.
          role="searchbox"
          inputMode="search"
          enterKeyHint="search"
          aria-label="Search messages"
          aria-describedby={hint}
          placeholder="Words of a message"
          dir="auto"
          value={text}
          onChange={({ target }) => setText(target.value)}
        />
        <p id={hint} className="fine" role="status">
          {hintOf(text.trim(), found.length, isReady, isSearching)}
        </p>
        <ul className="found" role="list" ref={list}>
          {found.map((it) => (
            <li key={it.id}>
              <button type="button" className="found-item" onClick={() => open(it)}>
                <Avatar name={it.author} size="small" />
                <span className="found-text">
                  <span className="found-head">
                    <b dir="auto">{it.author}</b> in <span dir="auto">{it.room}</span>
                  </span>
                  <span className="found-piece" dir="auto">
                    <Piece text={it.piece} />
                  </span>
                </span>
                <time dateTime={toDate(it.at).toISOString()}>{brief(toDate(it.at))}</time>
              </button>
            </li>
          ))}
        </ul>
      </div>
    </Dialog>
  );
}

function hintOf(text: string, found: number, isReady: boolean, isSearching: boolean): string {
  if (!isReady) return "The index is made when messages have come to this device for the first time.";
  if (text === "") return "It searches what is on this device, also without a network.";
  if (isSearching) return "Searching…";
  if (found === 0) return "Nothing found on this device. Earlier messages are found when they were shown once.";
  return found === 1 ? "1 message" : `${found === 50 ? "The latest 50" : found} messages`;
}

function Piece({ text }: { text: string }) {
  return text.split(BEGIN).map((part, at) => {
    const [marked, rest] = at === 0 ? [undefined, part] : part.split(END);
    return (
      <Fragment key={at}>
        {marked !== undefined && <mark>{marked}</mark>}
        {rest}
      </Fragment>
    );
  });
}
