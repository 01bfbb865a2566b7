/** Values between the application and the replica. */

import type { CoreColumns, CoreValue } from "./core.js";
import { invalid, messageOf } from "./errors.js";

/**
 * What a column gives. A whole number is a `number` where that is exact, and a `bigint` where it is not.
 *
 * | column | value |
 * | --- | --- |
 * | INT, BIGINT | `number` or `bigint` |
 * | BOOLEAN | 0 or 1, as SQLite has it |
 * | DOUBLE | `number` |
 * | TEXT, JSON, UUID | `string` |
 * | BYTES | `Uint8Array` |
 * | TIMESTAMP | microseconds since 1970, UTC: {@link toDate} makes a `Date` of it |
 *
 * {@link TidewireClient.remote} gives a BOOLEAN as `true` or `false`: there it comes from the server.
 */
export type Value = null | boolean | number | bigint | string | Uint8Array;

/** A row: the names of its columns, and their values. Of two columns with one name the last one counts. */
export type Row = { readonly [column: string]: Value };

/**
 * What may be given for a value: besides {@link Value} a `Date`, which is whole microseconds since 1970;
 * an `ArrayBuffer` or a view of one, which is its bytes; and a plain object or an array, which is its JSON.
 * `undefined` is NULL. All of them are taken as they are at the call: to change one later changes nothing.
 */
export type Param = null | undefined | boolean | number | bigint | string | object;

/** Columns and their values. */
export interface Columns {
  readonly [column: string]: Param;
}

/** A TIMESTAMP as a `Date`, to the millisecond. */
export function toDate(microseconds: number | bigint): Date {
  return new Date(Number(BigInt(microseconds) / 1000n));
}

/** Makes values ready for the worker. Throws `invalid_request`. */
export function toParams(params: readonly Param[] | undefined): CoreValue[] {
  return (params ?? []).map((param, at) => toValue(param, `parameter $${at + 1}`));
}

/** The same for columns. */
export function toColumns(columns: object): CoreColumns {
  const made: CoreColumns = {};
  for (const [name, value] of Object.entries(columns)) made[name] = toValue(value, `the value of ${name}`);
  return made;
}

/** Makes one value ready for the worker. */
export function toValue(value: Param, what: string): CoreValue {
  switch (typeof value) {
    case "undefined":
      return null;
    case "boolean":
    case "number":
    case "bigint":
      return value;
    case "string":
      return toText(value, what);
    case "object":
      return value === null ? null : fromObject(value, what);
    default:
      throw invalid(`${what} is a ${typeof value}: give a value that SQL knows`);
  }
}

/**
 * A text that can be stored. Half of a character, as cutting a text in the middle of one leaves it, would become
 * another character on its way.
 */
export function toText(text: string, what: string): string {
  if (typeof text !== "string") throw invalid(`${what} is a ${typeof text}: give a string`);
  if (!isWellFormed(text)) {
    throw invalid(`${what} has half of a surrogate pair in it: do not cut a text within a character, or give bytes`);
  }
  return text;
}

/** Browsers of before 2023 cannot tell, but `encodeURIComponent` throws then. */
function isWellFormed(text: string & { isWellFormed?: () => boolean }): boolean {
  if (text.isWellFormed) return text.isWellFormed();
  try {
    encodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function fromObject(value: object, what: string): CoreValue {
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw invalid(`${what} is a Date without a time: give a valid one`);
    return new Date(value.getTime());
  }
  // The call may wait for the worker, so what can be changed is copied. A view is sent with all that it is a view of.
  if (value instanceof ArrayBuffer) return new Uint8Array(value).slice();
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice();
  if (Array.isArray(value) || isPlain(value)) {
    try {
      return JSON.stringify(value);
    } catch (error) {
      throw invalid(`${what} has no JSON: ${messageOf(error)}`);
    }
  }
  throw invalid(`${what} is a ${value.constructor.name}: give a plain object, or make a text of it`);
}

/** Also of another frame, whose `Object` is another one. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || (typeof prototype === "object" && Object.getPrototypeOf(prototype) === null);
}

/** Makes an object of each row. */
export function toRows<R>(columns: readonly string[], rows: readonly unknown[][]): R[] {
  return rows.map((values) => toRow<R>(columns, values));
}

/** Makes an object of a row. */
export function toRow<R>(columns: readonly string[], values: readonly unknown[]): R {
  const row: Record<string, unknown> = {};
  for (let at = 0; at < columns.length; at += 1) row[columns[at] as string] = values[at];
  return row as R;
}

/** What is shown of a time of the core. */
export function fromMicroseconds(time: number): Date {
  return new Date(Math.floor(time / 1000));
}
