/**
 * The names of types. `chat.messages` is `ChatMessages`, with `ChatMessagesInsert` and others beside it.
 *
 * Names of SQL are small letters, digits and single underscores, and two of them may come to the same name here: then
 * each of these is `chat__messages`, which is nobody else's.
 */

import type { Table } from "./schema.js";

/** What stands behind the name of a table, for a row, an insert, the key and an update. */
export const ENDS = ["", "Insert", "Key", "Change"] as const;

/** What the file needs under these names. */
const TAKEN = ["ArrayBuffer", "ArrayBufferView", "Uint8Array"];

/** The names of tables, in their order. */
export function toNames(tables: readonly Pick<Table, "namespace" | "name">[]): string[] {
  const short = tables.map(({ namespace, name }) => pascal(`${namespace}_${name}`));
  const uses = new Map<string, number>(TAKEN.map((name) => [name, 1]));
  for (const name of short) for (const end of ENDS) uses.set(name + end, (uses.get(name + end) ?? 0) + 1);
  return tables.map(({ namespace, name }, at) => {
    const made = short[at] as string;
    return ENDS.every((end) => uses.get(made + end) === 1) ? made : `${namespace}__${name}`;
  });
}

function pascal(name: string): string {
  return name.replace(/(?:^|_)(.)/g, (_, first: string) => first.toUpperCase());
}
