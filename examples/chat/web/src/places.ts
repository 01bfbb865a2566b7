/** Where the server and the sign-in are. */

/** Addresses, as the session keeps them: a start without a network has nobody to ask. */
export interface Places {
  /** The Tidewire server. */
  readonly server: string;
  /** What signs in and gives tokens; its paths are beside this address. */
  readonly signIn: string;
}

/** Where sign-in listens, where nobody says otherwise. */
const SIGN_IN_PORT = "7421";

/** What the file beside the page says; what it does not is on the host of the page. */
export async function findPlaces(): Promise<Places> {
  const page = new URL(location.href);
  const beside = new URL(page.origin);
  beside.port = SIGN_IN_PORT;
  const { server, signIn } = await configured();
  const toAddress = (given: unknown, otherwise: string): string =>
    typeof given === "string" && given !== "" ? new URL(given, page).href : otherwise;
  return { server: toAddress(server, page.origin), signIn: toAddress(signIn, beside.origin) };
}

async function configured(): Promise<{ server?: unknown; signIn?: unknown }> {
  try {
    const response = await fetch(new URL("config.json", document.baseURI), { cache: "no-store" });
    return response.ok ? ((await response.json()) as object) : {};
  } catch {
    return {};
  }
}
