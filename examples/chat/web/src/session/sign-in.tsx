/** The screen for whoever is not signed in. */

import { type FormEvent, useEffect, useRef, useState } from "react";

import { signIn } from "./session.js";

export function SignIn() {
  return (
    <main className="sign-in">
      <div className="sign-in-card">
        <img className="sign-in-logo" src="./icon.svg" alt="" width="56" height="56" />
        <h1>Tidewire Chat</h1>
        <p className="soft">Messages are on your device first, and in step with everybody else’s when there is a network.</p>
        <SignInForm />
        <p className="fine">This is a demo: a name is enough, and there is no password.</p>
      </div>
    </main>
  );
}

/** Asks for a name, or for the session of a user anew. */
export function SignInForm({ user, onDone }: { user?: string; onDone?: () => void }) {
  const [name, setName] = useState(user ?? asked() ?? "");
  const [error, setError] = useState<string | null>(null);
  const [isBusy, setBusy] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const enter = async (): Promise<void> => {
    setBusy(true);
    setError(null);
    try {
      await signIn(name.trim());
      onDone?.();
    } catch (thrown) {
      setError(thrown instanceof Error ? thrown.message : String(thrown));
      setBusy(false);
      input.current?.focus();
    }
  };
  useEffect(() => {
    input.current?.focus();
    // The address says who it is: nothing is asked.
    if (user === undefined && asked()) void enter();
    // Once, for what the address was.
  }, []);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (name.trim() === "") setError("Enter a name, for instance alice.");
    else void enter();
  };
  return (
    <form className="stack" onSubmit={submit} noValidate>
      <label className="field">
        <span>Your name</span>
        <input
          ref={input}
          name="name"
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          maxLength={40}
          value={name}
          readOnly={user !== undefined}
          aria-invalid={error !== null}
          aria-describedby={error === null ? undefined : "sign-in-error"}
          onChange={({ target }) => setName(target.value)}
        />
      </label>
      {error !== null && (
        <p id="sign-in-error" className="error" role="alert">
          {error}
        </p>
      )}
      <button type="submit" className="button is-primary" disabled={isBusy}>
        {isBusy ? "Signing in…" : "Sign in"}
      </button>
    </form>
  );
}

function asked(): string | null {
  return new URLSearchParams(location.search).get("as");
}
