/** Who is signed in, and the tokens of that user. */

import { findPlaces, type Places } from "../places.js";
import { keep, recall, Store } from "./store.js";

const NAME = "tidewire-chat.session";

/** How long sign-in may take to answer, in milliseconds. */
const ANSWER_WITHIN_MS = 10_000;

/** Who is signed in. It is kept on the device, so that the app opens without a network. */
export interface Session extends Places {
  readonly user: string;
  /** By which sign-in knows it. It is shown to sign-in alone. */
  readonly session: string;
}

/**
 * How it went to get a token the last time: `fine`, or sign-in was `unreachable`, or it says that the session has
 * `ended`, and wants the user to sign in again.
 */
export type Renewal = "fine" | "unreachable" | "ended";

/** Who is signed in. */
export const session = new Store<Session | null>(toSession(recall(NAME)));

/** How it is with tokens. */
export const renewal = new Store<Renewal>("fine");

// Another page of the app has signed in or out.
globalThis.addEventListener("storage", ({ key }) => {
  if (key === NAME || key === null) session.set(toSession(recall(NAME)));
});

/** What is wrong with a sign-in, for the user. */
export class SignInError extends Error {}

/** Signs in under this name. */
export async function signIn(name: string): Promise<void> {
  const places = await findPlaces();
  const body = JSON.stringify({ name });
  const headers = { "Content-Type": "application/json" };
  const response = await ask(places, "sign-in", { method: "POST", body, headers });
  if (!response) throw new SignInError("Sign-in cannot be reached. Check your connection, then try again.");
  if (!response.ok) throw new SignInError(await reasonOf(response));
  const { user, session: id } = (await response.json()) as { user: string; session: string };
  const made: Session = { ...places, user, session: id };
  keep(NAME, made);
  renewal.set("fine");
  session.set(made);
}

/**
 * A token for the SDK, which asks whenever it needs one. What it throws is shown in the status of the client, and
 * tried again.
 */
export async function token(): Promise<string> {
  const signedIn = session.value;
  if (!signedIn) throw new Error("nobody is signed in");
  const headers = { Authorization: `Bearer ${signedIn.session}` };
  const response = await ask(signedIn, "token", { headers });
  if (!response || response.status >= 500) {
    renewal.set("unreachable");
    throw new Error("sign-in cannot be reached: it is asked again");
  }
  if (!response.ok) {
    renewal.set("ended");
    throw new Error("the session has ended: sign in again");
  }
  const { token } = (await response.json()) as { token: string };
  renewal.set("fine");
  return token;
}

/** Ends the session, also where sign-in cannot be told. */
export async function endSession(): Promise<void> {
  const ended = session.value;
  keep(NAME, null);
  renewal.set("fine");
  session.set(null);
  if (!ended) return;
  await ask(ended, "sign-out", { method: "POST", headers: { Authorization: `Bearer ${ended.session}` } });
}

/** The answer, if there is one. */
async function ask({ signIn }: Places, path: string, request: RequestInit): Promise<Response | undefined> {
  const base = signIn.endsWith("/") ? signIn : `${signIn}/`;
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  try {
    return await fetch(new URL(path, base), { ...request, signal, cache: "no-store", credentials: "omit" });
  } catch {
    return undefined;
  }
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  if (text === "" || text.length > 300) return `Sign-in has answered ${response.status}. Try again later.`;
  try {
    const answer = JSON.parse(text) as { error?: { message?: string } | string; message?: string };
    const { error } = answer;
    return (typeof error === "string" ? error : error?.message) ?? answer.message ?? text;
  } catch {
    return text;
  }
}

function toSession(kept: unknown): Session | null {
  const { user, session: id, server, signIn: place } = (kept ?? {}) as Partial<Record<keyof Session, unknown>>;
  const isWhole = [user, id, server, place].every((it) => typeof it === "string" && it !== "");
  return isWhole ? (kept as Session) : null;
}
