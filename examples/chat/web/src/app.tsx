/** Who is signed in sees the chat, everybody else the sign-in. */

import { TidewireProvider } from "@tidewire/react";

import { Chat } from "./chat.js";
import { clientOf } from "./session/client.js";
import { session } from "./session/session.js";
import { SignIn } from "./session/sign-in.js";
import { useStore } from "./session/store.js";

export function App() {
  const signedIn = useStore(session);
  if (!signedIn) return <SignIn />;
  return (
    <TidewireProvider client={clientOf(signedIn)}>
      <Chat key={signedIn.user} user={signedIn.user} />
    </TidewireProvider>
  );
}
