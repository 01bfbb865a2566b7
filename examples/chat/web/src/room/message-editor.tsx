/** A message while its author changes it. */

import { type KeyboardEvent, useEffect, useRef, useState } from "react";

import { useGrowing } from "../ui/growing.js";

interface EditorProps {
  readonly body: string;
  readonly onSave: (body: string) => Promise<unknown>;
  readonly onEnd: () => void;
}

export function MessageEditor({ body, onSave, onEnd }: EditorProps) {
  const [text, setText] = useState(body);
  const [error, setError] = useState<string | null>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  useGrowing(field, text);
  useEffect(() => {
    field.current?.focus();
    field.current?.setSelectionRange(body.length, body.length);
    // Once, where it begins.
  }, []);
  const save = async (): Promise<void> => {
    const changed = text.trim();
    try {
      if (changed !== "" && changed !== body) await onSave(changed);
      onEnd();
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : String(thrown));
    }
  };
  const press = (event: KeyboardEvent): void => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      void save();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      onEnd();
    }
  };
  return (
    <div className="message-editor">
      <textarea ref={field} aria-label="Edit the message" rows={1} dir="auto" value={text} onKeyDown={press} onChange={({ target }) => setText(target.value)} />
      {error !== null && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
      <div className="buttons">
        <button type="button" className="button is-small" onClick={onEnd}>
          Cancel
        </button>
        <button type="button" className="button is-small is-primary" onClick={() => void save()}>
          Save
        </button>
      </div>
    </div>
  );
}
