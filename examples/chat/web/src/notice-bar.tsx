/** What the user has to know of the connection, and a new version of the app. */

import { useTidewire } from "@tidewire/react";

import type { Notice } from "./data/connection.js";
import { goOffline } from "./session/client.js";
import { useStore } from "./session/store.js";
import { newVersion, takeNewVersion } from "./shell.js";
import { failure } from "./ui/attempt.js";

export function NoticeBar({ notice, onSignIn }: { notice: Notice | null; onSignIn: () => void }) {
  const client = useTidewire();
  const failed = useStore(failure);
  const isNew = useStore(newVersion) !== null;
  const actions: Record<NonNullable<Notice["action"]>, readonly [string, () => void]> = {
    "sign in": ["Sign in again", onSignIn],
    reload: ["Load again", () => location.reload()],
    "go online": ["Go online", () => goOffline(client, false)],
  };
  const action = notice?.action && actions[notice.action];
  return (
    <div className="notices">
      {/* It is there before there is something in it, so that it is read aloud then. */}
      <div role="status" className={notice ? `notice is-${notice.kind}` : ""}>
        {notice && <p>{notice.text}</p>}
        {action && (
          <button type="button" className="button is-small" onClick={action[1]}>
            {action[0]}
          </button>
        )}
      </div>
      <div role="alert" className={failed === null ? "" : "notice is-bad"}>
        {failed !== null && (
          <>
            <p>That was not done: {failed}.</p>
            <button type="button" className="button is-small" onClick={() => failure.set(null)}>
              Dismiss
            </button>
          </>
        )}
      </div>
      <div role="status" className={isNew ? "notice is-new" : ""}>
        {isNew && (
          <>
            <p>There is a new version of the chat.</p>
            <button type="button" className="button is-small" onClick={takeNewVersion}>
              Load it
            </button>
          </>
        )}
      </div>
    </div>
  );
}
