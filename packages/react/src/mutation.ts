/** Writing, and what becomes of it. */

import type { Mutation, MutationState, Param, TidewireClient, TidewireError, WriteOptions } from "@tidewire/client";
import { useCallback, useInsertionEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

import { useTidewire } from "./context.js";

/** What {@link useMutation} gives. The same object as long as nothing has changed. */
export interface Mutate<A extends readonly unknown[], T> {
  /**
   * Writes. It is done when it is stored on the device, the same with and without a network. Always the same function.
   * It rejects as the client does; whoever does not wait for that finds it in `error`.
   */
  readonly write: (...args: A) => Promise<T>;
  /** Whether the last call is not done. What the server makes of it is told by {@link useMutationState}. */
  readonly isPending: boolean;
  /** What the last call has thrown: of the client a `TidewireError`. `null` while one is under way. */
  readonly error: TidewireError | null;
  /** What the last call has given, `null` while one is under way: of a write its `Mutation`. */
  readonly written: T | null;
}

type SqlWrite = [sql: string, params?: readonly Param[], options?: WriteOptions];

/** The last call. */
type Call<T> = Omit<Mutate<[], T>, "write">;

const IDLE: Call<never> = Object.freeze({ isPending: false, error: null, written: null });
const PENDING: Call<never> = Object.freeze({ isPending: true, error: null, written: null });

/** Writes with SQL: `const { write } = useMutation()`, and in a handler `write("DELETE FROM …", [id])`. */
export function useMutation(): Mutate<SqlWrite, Mutation>;
/**
 * Writes in any other way. The function is given the client, and what it is called with.
 *
 * ```tsx
 * const { write, isPending, error } = useMutation((client, body: string) => client.insert("chat.messages", { body }));
 * ```
 */
export function useMutation<A extends readonly unknown[], T>(
  work: (client: TidewireClient, ...args: A) => Promise<T>,
): Mutate<A, T>;
export function useMutation<A extends readonly unknown[], T>(
  work: (client: TidewireClient, ...args: A) => Promise<T> = execute as never,
): Mutate<A, T> {
  const client = useTidewire();
  const [call, setCall] = useState<Call<T>>(IDLE);
  const last = useRef(0);
  const latest = useRef({ client, work });
  useInsertionEffect(() => {
    latest.current = { client, work };
  });
  const write = useCallback((...args: A): Promise<T> => {
    last.current += 1;
    const number = last.current;
    const end = (call: Call<T>): void => {
      if (number === last.current) setCall(call);
    };
    setCall(PENDING);
    const done = run(latest.current, args);
    // Whoever does not wait is told by `error`: then it is nothing that nobody has dealt with.
    done.then(
      (written) => end({ isPending: false, error: null, written }),
      (error: TidewireError) => end({ isPending: false, error, written: null }),
    );
    return done;
  }, []);
  return useMemo(() => ({ write, ...call }), [write, call]);
}

interface Work<A extends readonly unknown[], T> {
  readonly client: TidewireClient;
  readonly work: (client: TidewireClient, ...args: A) => Promise<T>;
}

/** Also what throws at once rejects. */
async function run<A extends readonly unknown[], T>({ client, work }: Work<A, T>, args: A): Promise<T> {
  return await work(client, ...args);
}

function execute(client: TidewireClient, ...[sql, params, options]: SqlWrite): Promise<Mutation> {
  return client.execute(sql, params, options);
}

/**
 * How it is with a write, from `queued` to what the server has decided; `null` as long as there is none. It goes on
 * with what `useMutation` has written, or `client.mutation` has found:
 *
 * ```tsx
 * const { write, written } = useMutation();
 * const fate = useMutationState(written);
 * ```
 */
export function useMutationState(mutation: Mutation): MutationState;
export function useMutationState(mutation: Mutation | null | undefined): MutationState | null;
export function useMutationState(mutation: Mutation | null | undefined): MutationState | null {
  const join = useCallback(
    (listener: () => void) => mutation?.onChange(listener) ?? (() => undefined),
    [mutation],
  );
  const look = (): MutationState | null => mutation?.state ?? null;
  return useSyncExternalStore(join, look, look);
}
