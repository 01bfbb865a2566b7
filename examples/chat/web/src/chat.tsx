/** The chat: rooms, the one that is open, and what is shown over them. */

import { usePending, useStatus, useSubscription } from "@tidewire/react";
import { useEffect, useState } from "react";

import { noticeOf } from "./data/connection.js";
import { useFailures } from "./data/failures.js";
import { useMentions, useSettings } from "./data/own.js";
import { useBePresent } from "./data/people.js";
import { useRooms } from "./data/rooms.js";
import { OF_EVERYBODY } from "./data/tables.js";
import { Mentions } from "./find/mentions.js";
import { Search } from "./find/search.js";
import { NoticeBar } from "./notice-bar.js";
import { Panel } from "./panel/panel.js";
import { NoRoom } from "./room/no-room.js";
import { Room } from "./room/room.js";
import { NewRoom } from "./rooms/new-room.js";
import { RoomFeeds } from "./rooms/room-feeds.js";
import { Rooms } from "./rooms/rooms.js";
import { renewal } from "./session/session.js";
import { SignInAgain } from "./session/sign-in-again.js";
import { useStore } from "./session/store.js";
import { SettingsDialog } from "./settings/settings.js";
import { useRoute } from "./ui/route.js";
import { showTheme } from "./ui/theme.js";
import { useTitle } from "./ui/title.js";
import { useIsVisible } from "./ui/visible.js";

/** What is over the chat. */
export type Overlay = "search" | "mentions" | "settings" | "new room" | "sign in";

export function Chat({ user }: { user: string }) {
  // The tables of everybody, each a subscription: hooks in an order that never changes.
  for (const sql of OF_EVERYBODY) useSubscription(sql);
  const { room, message } = useRoute();
  const rooms = useRooms(user);
  const mentions = useMentions();
  const failures = useFailures();
  const [overlay, setOverlay] = useState<Overlay | null>(null);
  const [isPanelOpen, setPanelOpen] = useState(false);
  useBePresent(room);
  useShownTheme();
  // What the user sees is being read.
  const seen = useIsVisible() ? room : null;
  useTitle(room, rooms.rows.reduce((sum, { name, unread }) => (name === seen ? sum : sum + unread), 0));
  useSearchKey(() => setOverlay("search"));

  const status = useStatus();
  const notice = noticeOf(status, useStore(renewal), usePending().count);
  const close = (): void => setOverlay(null);
  return (
    <div className={`chat${room === null ? " shows-rooms" : " shows-room"}${isPanelOpen ? " shows-panel" : ""}`}>
      <a className="skip" href="#main" onClick={skip}>
        Skip to the messages
      </a>
      <RoomFeeds rooms={rooms.rows} />
      <NoticeBar notice={notice} onSignIn={() => setOverlay("sign in")} />
      <Rooms user={user} rooms={rooms} open={room} mentions={mentions.rows} failures={failures} onOpen={setOverlay} />
      {room === null ? (
        <NoRoom hasRooms={rooms.rows.length > 0} onNewRoom={() => setOverlay("new room")} />
      ) : (
        <Room
          key={room}
          room={room}
          user={user}
          isThere={rooms.state === "loading" || rooms.rows.some(({ name }) => name === room)}
          message={message}
          failures={failures}
          isPanelOpen={isPanelOpen}
          onPanel={() => setPanelOpen(!isPanelOpen)}
        />
      )}
      {isPanelOpen && <Panel room={room} onClose={() => setPanelOpen(false)} />}
      {overlay === "search" && <Search onClose={close} />}
      {overlay === "mentions" && <Mentions mentions={mentions.rows} onClose={close} />}
      {overlay === "settings" && <SettingsDialog user={user} onClose={close} />}
      {overlay === "new room" && <NewRoom rooms={rooms.rows} onClose={close} />}
      {overlay === "sign in" && <SignInAgain user={user} onClose={close} />}
    </div>
  );
}

/** The theme of the user, on each of their devices. */
function useShownTheme(): void {
  const { settings, isKnown } = useSettings();
  useEffect(() => {
    if (isKnown) showTheme(settings.theme);
  }, [settings.theme, isKnown]);
}

function useSearchKey(open: () => void): void {
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "k") return;
      event.preventDefault();
      open();
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  });
}

/** The address is that of the room, so the link moves the focus by itself. */
function skip(event: { preventDefault(): void }): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
