/** The title of the page. */

import { useEffect } from "react";

/** The room that is open, and how much is unread in others. */
export function useTitle(room: string | null, unread: number): void {
  useEffect(() => {
    document.title = `${unread > 0 ? `(${unread}) ` : ""}${room === null ? "" : `${room} · `}Tidewire Chat`;
  }, [room, unread]);
}
