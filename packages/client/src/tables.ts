/** The tables of an application, as the compiler knows them. There is nothing of it in the program. */

import type { Changes } from "./statements.js";
import type { Columns, Row } from "./values.js";

/** What is known of a table. */
export interface TableTypes {
  /** A row of `SELECT *` on the replica. */
  row: object;
  /** What an insert takes. */
  insert: object;
  /** The primary key. */
  key: object;
  /** What an update takes. */
  change: object;
}

/**
 * What `T` must be for `createClient<T>`: as the `Tables` that `tidewire-types` writes. It, and all that is in it, is a
 * `type` and no `interface`: then a client that knows its tables is taken for one of which nothing is said.
 */
export type TablesOf<T> = { [N in keyof T]: TableTypes };

/** The tables of a client of which nothing is said: any of them, with any columns. */
export interface AnyTables {
  [table: string]: { row: Row; insert: Columns; key: Columns; change: Changes };
}

/** The names of tables. */
export type NameIn<T> = keyof T & string;

/** A row as {@link TidewireClient.remote} gives it: BOOLEAN is `true` or `false`, and there is no `_seq`. */
export type RemoteRow<R extends object> = {
  [C in keyof R as C extends "_seq" ? never : C]: [NonNullable<R[C]>] extends [0 | 1]
    ? boolean | Extract<R[C], null>
    : R[C];
};
