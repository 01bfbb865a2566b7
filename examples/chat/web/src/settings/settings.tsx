/** Settings, which are the same on all devices of the user, and the way out. */

import { usePending, useTidewire } from "@tidewire/react";
import { useState } from "react";

import { count } from "../data/connection.js";
import { type Settings, useSettings } from "../data/own.js";
import { goOffline, offlineSwitch } from "../session/client.js";
import { useStore } from "../session/store.js";
import { attempt } from "../ui/attempt.js";
import { Avatar } from "../ui/avatar.js";
import { Dialog } from "../ui/dialog.js";
import { Icon } from "../ui/icons.js";
import { SignOut } from "./sign-out.js";

const THEMES: readonly (readonly [Settings["theme"], string])[] = [
  ["system", "System"],
  ["light", "Light"],
  ["dark", "Dark"],
];

export function SettingsDialog({ user, onClose }: { user: string; onClose: () => void }) {
  const client = useTidewire();
  const { settings, set } = useSettings();
  const isOffline = useStore(offlineSwitch);
  const waiting = usePending().count;
  const [isLeaving, setLeaving] = useState(false);
  if (isLeaving) return <SignOut user={user} onClose={() => setLeaving(false)} />;
  return (
    <Dialog title="Settings" onClose={onClose}>
      <div className="stack">
        <p className="whoami">
          <Avatar name={user} />
          <span>
            Signed in as <b dir="auto">{user}</b>
          </span>
        </p>
        <fieldset>
          <legend>Theme</legend>
          <div className="choices">
            {THEMES.map(([theme, word]) => (
              <label key={theme}>
                <input type="radio" name="theme" checked={settings.theme === theme} onChange={() => attempt(set("theme", theme))} />
                <span>{word}</span>
              </label>
            ))}
          </div>
        </fieldset>
        <label className="switch">
          <input type="checkbox" role="switch" checked={settings.enterSends} onChange={({ target }) => attempt(set("enterSends", target.checked))} />
          <span>
            Enter sends
            <span className="fine">{settings.enterSends ? "Shift and Enter begin a new line." : "Control and Enter send."}</span>
          </span>
        </label>
        <label className="switch">
          <input type="checkbox" role="switch" checked={isOffline} onChange={({ target }) => goOffline(client, target.checked)} />
          <span>
            Offline
            <span className="fine">
              {waiting === 0 ? "Ends the connection. You can go on reading and writing." : `${count(waiting, "change")} will be sent when it is off.`}
            </span>
          </span>
        </label>
        <section className="keys" aria-labelledby="keys">
          <h3 id="keys">Keys</h3>
          <dl>
            <dt>
              <kbd>Ctrl</kbd> <kbd>K</kbd>
            </dt>
            <dd>search</dd>
            <dt>
              <kbd>↑</kbd> <kbd>↓</kbd>
            </dt>
            <dd>from message to message</dd>
            <dt>
              <kbd>L</kbd> <kbd>E</kbd> <kbd>Del</kbd>
            </dt>
            <dd>like, edit, delete the message</dd>
          </dl>
        </section>
        <button type="button" className="button" onClick={() => setLeaving(true)}>
          <Icon name="leave" />
          Sign out
        </button>
      </div>
    </Dialog>
  );
}
