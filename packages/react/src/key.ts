/** When two queries are the same. */

import type { Param } from "@tidewire/client";

/**
 * A text that two have in common exactly when all of their parts are equal. Of parts that no JSON tells apart, give
 * what {@link keysOf} makes of them.
 */
export function keyOf(...parts: unknown[]): string {
  return JSON.stringify(parts);
}

/** Parameters by their values: a `Date` or an array that is made anew in each render is the same one. */
export function keysOf(params: readonly Param[]): string[] {
  return params.map(keyOfParam);
}

function keyOfParam(param: Param): string {
  switch (typeof param) {
    case "undefined":
      return "null";
    case "number":
      return `number ${Object.is(param, -0) ? "-0" : param}`;
    case "object":
      return param === null ? "null" : keyOfObject(param);
    case "boolean":
    case "bigint":
    case "string":
      return `${typeof param} ${String(param)}`;
    default:
      // It is refused, and a function that is made anew in each render is refused once.
      return `no value: ${typeof param}`;
  }
}

function keyOfObject(value: object): string {
  if (value instanceof Date) return `date ${value.getTime()}`;
  if (value instanceof ArrayBuffer) return `bytes ${new Uint8Array(value).join()}`;
  if (ArrayBuffer.isView(value)) return `bytes ${new Uint8Array(value.buffer, value.byteOffset, value.byteLength).join()}`;
  // What is no plain object is refused, though it may have the JSON of one.
  const prototype: unknown = Object.getPrototypeOf(value);
  const kind = Array.isArray(value) || prototype === null ? "" : (value.constructor?.name ?? "");
  try {
    return `json ${kind} ${JSON.stringify(value)}`;
  } catch {
    return `no value: ${kind}`;
  }
}
