/** What has changed in the tables, in a line. */

import type { Column, Table } from "./schema.js";

/** So many are named, and the others counted. */
const NAMED_MAX = 8;

/** `+` is new, `-` is gone, and `~` is another one. */
export function describe(before: readonly Table[], after: readonly Table[]): string {
  const [old, made] = [byName(before), byName(after)];
  const changes: string[] = [];
  for (const [name, table] of made) {
    const was = old.get(name);
    if (was === undefined) changes.push(`+ ${name}`);
    else changes.push(...inside(name, was, table));
  }
  for (const name of old.keys()) if (!made.has(name)) changes.push(`- ${name}`);
  const more = changes.length - NAMED_MAX;
  return changes.slice(0, NAMED_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function byName(tables: readonly Table[]): Map<string, Table> {
  return new Map(tables.map((table) => [`${table.namespace}.${table.name}`, table]));
}

function inside(name: string, was: Table, table: Table): string[] {
  const before = new Map(was.columns.map((column) => [column.name, column]));
  const changes: string[] = [];
  for (const column of table.columns) {
    const old = before.get(column.name);
    if (old === undefined) changes.push(`+ ${name}.${column.name}`);
    else if (!isEqual(old, column)) changes.push(`~ ${name}.${column.name}`);
    before.delete(column.name);
  }
  for (const gone of before.keys()) changes.push(`- ${name}.${gone}`);
  const isOther = was.kind !== table.kind || was.access !== table.access;
  return isOther && changes.length === 0 ? [`~ ${name}`] : changes;
}

function isEqual(one: Column, other: Column): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
