/** Who has the client. */

import { TidewireError, type TidewireClient } from "@tidewire/client";
import { createContext, createElement, type ReactElement, type ReactNode, useContext } from "react";

/** `undefined` outside of every provider. */
const Context = createContext<TidewireClient | null | undefined>(undefined);

/** What a {@link TidewireProvider} is given. */
export interface TidewireProviderProps {
  /**
   * The client of all components in it. Whoever has created it closes it; another one may take its place. `null` where
   * there is none, while a page is rendered on a server: every query is `loading` then.
   */
  readonly client: TidewireClient | null;
  readonly children?: ReactNode;
}

/** Gives the components in it a client. */
export function TidewireProvider({ client, children }: TidewireProviderProps): ReactElement {
  return createElement(Context.Provider, { value: client }, children);
}

/**
 * The client, for what has no hook: `const client = useTidewire()`, and in a handler `client.transaction(…)`.
 *
 * Throws `invalid_request` outside of a {@link TidewireProvider}. While a page is rendered on a server it can be asked
 * for, and whatever is done with it throws `unsupported`: handlers and effects do not run there.
 */
export function useTidewire(): TidewireClient {
  return useClient() ?? NO_CLIENT;
}

/** The same, and `null` where there is none. */
export function useClient(): TidewireClient | null {
  const client = useContext(Context);
  if (client === undefined) {
    const told = "there is no client here: put the component into <TidewireProvider client={client}>";
    throw new TidewireError("invalid_request", told);
  }
  return client;
}

/** What asks any object what it is: React, when it shows a value in a message, and `await`. */
const ASKED_OF_ALL = new Set<PropertyKey>(["then", "toJSON", "$$typeof", "constructor", "prototype", "nodeType"]);

/** Stands for the client on a server, so that a component with handlers can be rendered there as it is. */
const NO_CLIENT = new Proxy({} as TidewireClient, {
  get(_, name) {
    if (typeof name === "symbol" || ASKED_OF_ALL.has(name)) return undefined;
    const told = `there is no client while a page is rendered on a server: use client.${name} in handlers and effects`;
    throw new TidewireError("unsupported", told);
  },
});
