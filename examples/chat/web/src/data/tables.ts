/** What comes to the device. */

/** All of it, for as long as somebody is signed in. */
export const OF_EVERYBODY = [
  "SELECT * FROM chat.rooms",
  "SELECT * FROM chat.presence",
  "SELECT * FROM chat.read_marks",
  "SELECT * FROM chat.drafts",
  "SELECT * FROM chat.settings",
  "SELECT * FROM chat.mentions",
] as const;

/** Of one room. Likes have as many rows as messages, born together, so the same window has both. */
export const OF_A_ROOM = {
  messages: "SELECT * FROM chat.messages WHERE room = $1",
  likes: "SELECT * FROM chat.likes WHERE room = $1",
  typing: "SELECT * FROM chat.typing WHERE room = $1",
} as const;

/** How many messages of a room come at first, and more each time that older ones are wanted. */
export const MESSAGES_AT_ONCE = 50;
