/** What is written. */

import type { CoreColumns, CoreStatement, CoreWriteOptions } from "./core.js";
import { invalid } from "./errors.js";
import type { WriteOptions } from "./mutation.js";
import type { AnyTables, NameIn, TableTypes, TablesOf } from "./tables.js";
import { type Param, toColumns, toParams, toText, toValue } from "./values.js";

/** One statement of a batch. A text is SQL without parameters. */
export type Statement<T extends TablesOf<T> = AnyTables> =
  | string
  | { readonly sql: string; readonly params?: readonly Param[] | undefined }
  | { [N in NameIn<T>]: StatementOn<N, T[N]> }[NameIn<T>];

type StatementOn<N extends string, Types extends TableTypes> =
  | { readonly insert: N; readonly values: Types["insert"] }
  | { readonly update: N; readonly key: Types["key"]; readonly set: Partial<Types["change"]> }
  | { readonly delete: N; readonly key: Types["key"] };

/** The same of whatever tables. */
export type AnyStatement =
  | string
  | { readonly sql: string; readonly params?: readonly Param[] | undefined }
  | StatementOn<string, TableTypes>;

/** Columns and their new values; {@link add} adds to what is there. */
export interface Changes {
  readonly [column: string]: Param | Add;
}

/** What is added to a column: see {@link add}. */
export class Add {
  constructor(
    /** How much. */
    readonly amount: number | bigint,
  ) {}
}

/**
 * For a column that was declared `MERGE ADD`: adds to whatever the server has then, so that two devices which
 * count offline count both.
 *
 * ```ts
 * await client.update("chat.messages", { id }, { likes: add(1) });
 * ```
 */
export function add(amount: number | bigint): Add {
  return new Add(amount);
}

/** Makes a statement ready for the worker. Throws `invalid_request`. */
export function toStatement(statement: AnyStatement): CoreStatement {
  if (typeof statement === "string") return { sql: toText(statement, "the SQL") };
  if ("sql" in statement) return { sql: toText(statement.sql, "the SQL"), params: toParams(statement.params) };
  if ("insert" in statement) return { insert: statement.insert, values: toColumns(statement.values) };
  if ("update" in statement) {
    return { update: statement.update, key: toColumns(statement.key), ...toChanges(statement.set) };
  }
  if ("delete" in statement) return { delete: statement.delete, key: toColumns(statement.key) };
  throw invalid("a statement is SQL, or an object with sql, insert, update or delete");
}

function toChanges(changes: object): { set: CoreColumns; add: CoreColumns } {
  const set: CoreColumns = {};
  const added: CoreColumns = {};
  for (const [name, value] of Object.entries(changes)) {
    if (value instanceof Add) added[name] = value.amount;
    else set[name] = toValue(value, `the value of ${name}`);
  }
  return { set, add: added };
}

/** Only what is given, so that nothing is said of the rest. */
export function toWriteOptions({ online, queue, onReject, expect, replaces }: WriteOptions): CoreWriteOptions {
  const options: CoreWriteOptions = {};
  if (online !== undefined) options.online = online;
  if (queue !== undefined) options.queue = queue;
  if (onReject !== undefined) options.onReject = onReject;
  if (expect !== undefined) options.unchanged = expect === "unchanged";
  if (replaces !== undefined) options.replaces = replaces;
  return options;
}
