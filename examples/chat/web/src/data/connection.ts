/** How it is with the connection, in words for the user. */

import type { Status } from "@tidewire/client";

import type { Renewal } from "../session/session.js";

/** A word, and how it looks. */
export interface Connection {
  readonly word: string;
  readonly kind: "good" | "busy" | "away" | "bad";
}

/** A notice, with what the user can do. */
export interface Notice {
  readonly text: string;
  readonly kind: "away" | "bad";
  readonly action?: "sign in" | "reload" | "go online";
}

const CONNECTIONS: Record<Status["word"], Connection> = {
  connected: { word: "Connected", kind: "good" },
  behind: { word: "Catching up", kind: "busy" },
  connecting: { word: "Connecting", kind: "busy" },
  offline: { word: "Offline", kind: "away" },
  paused: { word: "Offline", kind: "away" },
  needs_auth: { word: "Signed out", kind: "bad" },
  wrong_user: { word: "Wrong user", kind: "bad" },
  update_required: { word: "Update needed", kind: "bad" },
  disk_full: { word: "Disk full", kind: "bad" },
  error: { word: "Trouble", kind: "bad" },
  closed: { word: "Closed", kind: "away" },
};

/** The state of the connection, for the header. */
export function connectionOf({ word }: Status, renewal: Renewal): Connection {
  if (word === "needs_auth" && renewal === "unreachable") return CONNECTIONS.offline;
  return CONNECTIONS[word];
}

/** What the user has to know, if anything. */
export function noticeOf({ word, reason }: Status, renewal: Renewal, waiting: number): Notice | null {
  const kept = waiting > 0 ? ` ${count(waiting, "change")} will be sent later.` : "";
  const isCut = word !== "connected" && word !== "behind" && word !== "paused";
  if (renewal === "ended" && isCut) {
    return bad(`Your session has ended. Everything is still here: sign in again to go on.${kept}`, "sign in");
  }
  switch (word) {
    case "needs_auth":
      if (renewal !== "unreachable") return bad(`The server does not accept your session: sign in again.${kept}`, "sign in");
      return away(`You are offline, and can go on. Your session is renewed as soon as sign-in can be reached.${kept}`);
    case "offline":
      return away(`You are offline, and can go on.${kept}`);
    case "paused":
      return away(`You have switched the connection off, and can go on.${kept}`, "go online");
    case "wrong_user":
      return bad("Sign-in has answered for another user, so nothing was sent. Sign in again.", "sign in");
    case "update_required":
      return bad("This version of the chat is too old for the server. Load it again to get the present one.", "reload");
    case "disk_full":
      return bad("There is no room left on this device. What you write is kept; free some space to get what others write.");
    case "error": {
      const why = reason ? `: ${reason.message}` : "";
      return bad(`The messages on this device cannot be read${why}. If it stays so, load the chat again.`, "reload");
    }
    default:
      return null;
  }
}

function away(text: string, action?: Notice["action"]): Notice {
  return { text, kind: "away", ...(action && { action }) };
}

function bad(text: string, action?: Notice["action"]): Notice {
  return { text, kind: "bad", ...(action && { action }) };
}

/** A number of things. */
export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
