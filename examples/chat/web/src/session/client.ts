/** The client of who is signed in: one for the page, whatever components come and go. */

import { createClient, type TidewireClient } from "@tidewire/client";

import { prepare } from "../data/local.js";
import { type Session, token } from "./session.js";
import { keep, recall, Store } from "./store.js";

const OFFLINE = "tidewire-chat.offline";

/** Whether the user wants no connection. It stays so when the page is loaded again. */
export const offlineSwitch = new Store<boolean>(recall(OFFLINE) === true);

globalThis.addEventListener("storage", ({ key }) => {
  if (key === OFFLINE) offlineSwitch.set(recall(OFFLINE) === true);
});

let open: { readonly user: string; readonly client: TidewireClient } | undefined;

/** The client of this user. It is opened in the background, and is there at once. */
export function clientOf({ user, server }: Session): TidewireClient {
  if (open?.user === user && open.client.status.word !== "closed") return open.client;
  void open?.client.close();
  // By a name: the replica is the same one when the address is another.
  const client = createClient({ url: server, user, token, name: "chat" });
  if (offlineSwitch.value) client.pause();
  prepare(client);
  open = { user, client };
  return client;
}

/** Ends the connection, or makes one again. */
export function goOffline(client: TidewireClient, isOffline: boolean): void {
  keep(OFFLINE, isOffline ? true : null);
  offlineSwitch.set(isOffline);
  if (isOffline) client.pause();
  else client.resume();
}
