/** Signs out: what is on the device stays, or goes. */

import { TidewireError } from "@tidewire/client";
import { usePending, useRejections, useTidewire } from "@tidewire/react";
import { useState } from "react";

import { count } from "../data/connection.js";
import { endSession } from "../session/session.js";
import { Dialog } from "../ui/dialog.js";
import { goTo } from "../ui/route.js";

export function SignOut({ user, onClose }: { user: string; onClose: () => void }) {
  const client = useTidewire();
  const unsent = usePending().count + useRejections().length;
  const [error, setError] = useState<string | null>(null);
  const [mustLose, setMustLose] = useState(false);
  const leave = async (data: "keep" | "wipe"): Promise<void> => {
    try {
      await client.signOut(data, { discardPending: mustLose });
    } catch (thrown) {
      if (thrown instanceof TidewireError && thrown.code === "conflict") {
        setMustLose(true);
        return;
      }
      setError(thrown instanceof Error ? thrown.message : String(thrown));
      return;
    }
    goTo(null);
    await endSession();
  };
  return (
    <Dialog title="Sign out?" onClose={onClose}>
      <div className="stack">
        <p>
          What <b dir="auto">{user}</b> has on this device can stay for the next time. On a device of somebody else, remove it.
        </p>
        {unsent > 0 && (
          <p className="warning">
            {count(unsent, "change")} {unsent === 1 ? "was" : "were"} not sent yet. {mustLose ? "Press Remove once more to lose them." : "They are sent when you are back, if you keep them."}
          </p>
        )}
        {error !== null && (
          <p className="error" role="alert">
            {error}
          </p>
        )}
        <div className="buttons">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="button" className="button is-danger" onClick={() => void leave("wipe")}>
            {mustLose ? "Remove, and lose them" : "Remove"}
          </button>
          <button type="button" className="button is-primary" onClick={() => void leave("keep")}>
            Keep
          </button>
        </div>
      </div>
    </Dialog>
  );
}
