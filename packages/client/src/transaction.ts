/** Several statements that are done together, with code of the application between them. */

import type { CoreStatement } from "./core.js";
import { TidewireError } from "./errors.js";
import type { Link } from "./link.js";
import type { Fates, Mutation, WriteOptions } from "./mutation.js";
import { toStatement, toWriteOptions } from "./statements.js";
import type { AnyTables, NameIn, TablesOf } from "./tables.js";
import { type Param, type Row, toColumns, toParams, toRows, toText } from "./values.js";

/** What a transaction has come to. */
export interface Committed<T> {
  /** What its code has returned. */
  readonly value: T;
  /** The write, which is decided as a whole. */
  readonly mutation: Mutation;
}

/**
 * A transaction that is open: see {@link TidewireClient.transaction}.
 *
 * All of it rejects with what is wrong with the statement, and then nothing of that was done, and the transaction
 * goes on; or with `timeout`, when it has taken too long and is undone.
 */
export class Transaction<T extends TablesOf<T> = AnyTables> {
  readonly #link: Link;
  readonly #handle: string;
  /** The worker that has it, once one has. */
  #generation: number | undefined;
  /** Why nothing more is done in it. */
  #over: TidewireError | undefined;

  /** @internal */
  constructor(link: Link, handle: string) {
    this.#link = link;
    this.#handle = handle;
  }

  /** Runs a statement; SAVEPOINT, RELEASE and ROLLBACK TO, too. Says how many rows it has written. */
  async execute(sql: string, params?: readonly Param[]): Promise<number> {
    const { rowsAffected } = await this.#run({ sql: toText(sql, "the SQL"), params: toParams(params) });
    return rowsAffected;
  }

  /** Reads, with what this transaction has written. */
  async query<R extends object = Row>(sql: string, params?: readonly Param[]): Promise<R[]> {
    const { columns, rows } = await this.#run({ query: toText(sql, "the SQL"), params: toParams(params) });
    return toRows<R>(columns, rows);
  }

  /** Inserts a row. Columns that are not named take their defaults. */
  async insert<N extends NameIn<T>>(table: N, values: T[N]["insert"]): Promise<void> {
    await this.#run(toStatement({ insert: table, values }));
  }

  /** Changes columns of a row, which need not be on this device. */
  async update<N extends NameIn<T>>(table: N, key: T[N]["key"], set: Partial<T[N]["change"]>): Promise<void> {
    await this.#run(toStatement({ update: table, key, set }));
  }

  /** Deletes a row, which need not be on this device. */
  async delete<N extends NameIn<T>>(table: N, key: T[N]["key"]): Promise<void> {
    await this.#run(toStatement({ delete: table, key }));
  }

  /**
   * The transaction is to happen only where the server has a row with this key, and these values in it; otherwise it
   * is rejected with `conflict`. Where the transaction writes nothing, nothing is expected.
   */
  async expect<N extends NameIn<T>>(
    table: N,
    key: T[N]["key"],
    values: Partial<T[N]["insert"]> = {},
  ): Promise<void> {
    await this.#run({ expect: table, key: toColumns(key), values: toColumns(values) });
  }

  /** @internal It goes to a worker. */
  enter(): void {
    this.#generation = this.#link.generation;
  }

  /** @internal Nothing more is done in it. */
  leave(why = cancelled(OVER)): void {
    this.#over = why;
  }

  /** @internal Whether the worker has ended that had it. */
  get isLost(): boolean {
    return this.#generation !== undefined && this.#generation !== this.#link.generation;
  }

  async #run(statement: CoreStatement) {
    if (this.#over) throw this.#over;
    if (this.isLost) throw lost(this.#link);
    return await this.#link.call("run", this.#handle, statement);
  }
}

/**
 * Runs a function in a transaction. What it throws undoes everything, and is thrown again. When the transaction is over
 * before its function is, nobody waits for that.
 */
export async function transact<V, T extends TablesOf<T>>(
  link: Link,
  fates: Fates,
  handle: string,
  run: (tx: Transaction<T>) => Promise<V> | V,
  options: WriteOptions,
): Promise<Committed<V>> {
  const tx = new Transaction<T>(link, handle);
  const begun = link.callIn(() => tx.enter(), "begin", handle, toWriteOptions(options));
  const over = link.call("over", handle);
  /** Why it is over, when it has not ended here. */
  let why: TidewireError | undefined;
  const given = new Promise<never>((_, reject) => {
    const end = (error: TidewireError): void => {
      why ??= error;
      reject(why);
    };
    begun.catch(end);
    over.catch(end);
  });
  // It is looked at below, also when the function throws before.
  given.catch(() => undefined);
  let value: V;
  try {
    value = await Promise.race([(async () => await run(tx))(), given]);
    await Promise.race([begun, given]);
    if (tx.isLost) throw lost(link);
  } catch (error) {
    tx.leave(why);
    // Also one that is over by itself, so that the core forgets it, and one that waits for a worker.
    if (!tx.isLost) link.tell("rollback", handle);
    throw error;
  }
  tx.leave();
  return { value, mutation: await fates.mutation(link.call("commit", handle)) };
}

const OVER = "the transaction is over: await what is done in it before its function returns";

function lost({ ended, loss }: Link): TidewireError {
  return ended ?? new TidewireError(loss.code, `${loss.message}. The transaction is undone: start it again`);
}

function cancelled(message: string): TidewireError {
  return new TidewireError("cancelled", message);
}
