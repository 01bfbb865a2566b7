/** The session has ended, and everything is still here. */

import { useTidewire } from "@tidewire/react";

import { Dialog } from "../ui/dialog.js";
import { SignInForm } from "./sign-in.js";

export function SignInAgain({ user, onClose }: { user: string; onClose: () => void }) {
  const client = useTidewire();
  const done = (): void => {
    // It would ask for a token by itself, later.
    client.resume();
    onClose();
  };
  return (
    <Dialog title="Sign in again" onClose={onClose}>
      <SignInForm user={user} onDone={done} />
    </Dialog>
  );
}
