/** The tables of a server as TypeScript. The same tables are always the same text. */

import { Failure } from "./failure.js";
import { toNames } from "./names.js";
import type { Column, Table } from "./schema.js";

const HEAD = `/* eslint-disable */
/**
 * The tables of a Tidewire server. Written by \`tidewire-types\`: do not change it, but call that again.
 *
 * A table has a row as \`SELECT *\` on the replica gives it, what an insert takes, its key, and what an update takes.
 */
`;

/** What a type of SQL is: what is read, and what may be written. */
const TYPES: Readonly<Record<string, readonly [read: string, written: string]>> = {
  BOOLEAN: ["0 | 1", "boolean"],
  INT: ["number", "number | bigint"],
  BIGINT: ["number | bigint", "number | bigint"],
  DOUBLE: ["number", "number | bigint"],
  TEXT: ["string", "string"],
  UUID: ["string", "string"],
  JSON: ["string", "string | object"],
  BYTES: ["Uint8Array", "ArrayBuffer | ArrayBufferView"],
  TIMESTAMP: ["number | bigint", "Date | number | bigint"],
};

const SEQ = `  /** When the row was born: order by it. NULL while the row is only on this device. */
  _seq: number | null;
`;

/** Writes the file. Throws {@link Failure} for what a newer server has. */
export function print(tables: readonly Table[]): string {
  const names = toNames(tables);
  const bodies = tables.map((table, at) => printTable(table, names[at] as string));
  const entries = tables.map(({ namespace, name }, at) => {
    const type = names[at] as string;
    const types = `row: ${type}; insert: ${type}Insert; key: ${type}Key; change: ${type}Change`;
    return `  "${namespace}.${name}": { ${types} };\n`;
  });
  const adds = tables.some(({ columns }) => columns.some((column) => column.adds));
  const uses = adds ? '\nimport type { Add } from "@tidewire/client";\n' : "";
  const all = `\n/** All of them, for \`createClient<Tables>\`. */\nexport type Tables = {\n${entries.join("")}};\n`;
  return HEAD + uses + all + bodies.join("");
}

function printTable(table: Table, type: string): string {
  const { columns } = table;
  const name = `\`${table.namespace}.${table.name}\``;
  const kind = table.access === null ? table.kind : `${table.kind}, ACCESS_LEVEL = ${table.access}`;
  const [key, others] = [columns.filter(({ isKey }) => isKey), columns.filter(({ isKey }) => !isKey)];
  const row = columns.map((column) => line(table, column, read(table, column)));
  const insert = columns.map((column) => line(table, column, written(table, column), isOptional(table, column)));
  const keys = key.map((column) => line(table, column, written(table, column)));
  const change = others.map((column) => line(table, column, changed(table, column), true));
  return (
    block(`A row of ${name} (${kind}).`, type, row.join("") + SEQ) +
    block(`What an insert into ${name} takes.`, `${type}Insert`, insert.join("")) +
    block(`The primary key of ${name}.`, `${type}Key`, keys.join("")) +
    block(`What an update of ${name} takes.`, `${type}Change`, change.join(""))
  );
}

function block(says: string, type: string, lines: string): string {
  // No interfaces: the compiler does not take those for `Columns`, where any column could be. And what has no members
  // would take anything.
  const members = lines === "" ? "{ [column: string]: never }" : `{\n${lines}}`;
  return `\n/** ${says} */\nexport type ${type} = ${members};\n`;
}

function line(table: Table, column: Column, type: string, isOptional = false): string {
  return `  /** ${sql(table, column)} */\n  ${column.name}${isOptional ? "?" : ""}: ${type};\n`;
}

/** A column as it was declared. */
function sql({ columns }: Table, column: Column): string {
  const isAlone = column.isKey && columns.filter(({ isKey }) => isKey).length === 1;
  const words = [column.type];
  if (isAlone) words.push("PRIMARY KEY");
  else if (column.notNull) words.push("NOT NULL");
  // A default may have any text in it, also what ends a comment or a line.
  if (column.default !== null) words.push("DEFAULT", oneLine(column.default).replaceAll("*/", "*\\/"));
  if (column.adds) words.push("MERGE ADD");
  if (column.isOwner) words.push("(OWNER_COLUMN)");
  return words.join(" ");
}

/** What is longer is cut: it is there to be recognised. */
const DEFAULT_CHARACTERS_MAX = 60;

function oneLine(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, " ");
  const characters = [...line];
  if (characters.length <= DEFAULT_CHARACTERS_MAX) return line;
  return `${characters.slice(0, DEFAULT_CHARACTERS_MAX).join("")}…`;
}

function read(table: Table, column: Column): string {
  const [type] = typesOf(table, column);
  return column.notNull ? type : `${type} | null`;
}

/**
 * `undefined` is NULL for the client, and no column that is left out, so it is only taken where that is the same, and
 * not where a default would be expected.
 */
function written(table: Table, column: Column): string {
  const [, type] = typesOf(table, column);
  if (column.notNull) return type;
  return fills(table, column) === "null" ? `${type} | null | undefined` : `${type} | null`;
}

/** An update with `undefined` would write NULL: who means that says `null`. */
function changed(table: Table, column: Column): string {
  const [, type] = typesOf(table, column);
  const taken = column.notNull ? type : `${type} | null`;
  return column.adds ? `${taken} | Add` : taken;
}

function isOptional(table: Table, column: Column): boolean {
  const filled = fills(table, column);
  return filled === "default" || (filled === "null" && !column.notNull);
}

/** What a device stores in a column that an insert does not name. */
function fills({ kind }: Table, column: Column): "default" | "null" | "nothing" {
  if (column.isOwner) return "default";
  if (column.default === null || column.default === "NULL") return "null";
  // Two devices may draw the same one, so a device has it for the tables of its user alone, and refuses others.
  return column.default === "SNOWFLAKE_ID()" && kind === "SHARED" ? "nothing" : "default";
}

function typesOf(table: Table, column: Column): readonly [read: string, written: string] {
  const types = TYPES[column.type];
  if (types) return types;
  const what = `${table.namespace}.${table.name}.${column.name} is ${column.type}`;
  throw new Failure(`${what}, which this version of @tidewire/client does not know: install a newer one`, false);
}
