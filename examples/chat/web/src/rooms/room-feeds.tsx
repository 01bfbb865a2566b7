/** Messages of rooms that are not open come, too: what is unread counts, and what is found is here without a network. */

import { useSubscription } from "@tidewire/react";
import { memo } from "react";

import type { Room } from "../data/rooms.js";
import { MESSAGES_AT_ONCE, OF_A_ROOM } from "../data/tables.js";

/** So many: a client has room for a thousand subscriptions, and each room takes two. */
const ROOMS_MAX = 200;

export function RoomFeeds({ rooms }: { rooms: readonly Room[] }) {
  // By name, so that the same ones are chosen whatever happens in them.
  const names = rooms.map(({ name }) => name).sort();
  return names.slice(0, ROOMS_MAX).map((name) => <Feed key={name} room={name} />);
}

const Feed = memo(function Feed({ room }: { room: string }) {
  const options = { fetchLast: MESSAGES_AT_ONCE };
  useSubscription(OF_A_ROOM.messages, [room], options);
  useSubscription(OF_A_ROOM.likes, [room], options);
  return null;
});
