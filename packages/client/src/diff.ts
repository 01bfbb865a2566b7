/** What is new in a result, against another one. */

import type { CoreResult } from "./core.js";

/**
 * What has changed in a result since the one that the same consumer was given before. All places count from 0, and
 * all lists are in ascending order of the places in this result; `removed` of those in the result before.
 */
export interface Diff {
  /** The columns by whose values a row is known. Without any, a row that changes is another one. */
  readonly key: readonly string[];
  /** The places, in the result before, of rows that are not here any more. */
  readonly removed: readonly number[];
  /** The places of rows that were not there before. */
  readonly inserted: readonly number[];
  /** Rows with the same key as before and other values. They may have moved, too. */
  readonly updated: readonly FromTo[];
  /** Rows that are not in the order in which they were: as few as can be. */
  readonly moved: readonly FromTo[];
}

/** Where a row was and where it is. */
export interface FromTo {
  /** Its place in the result before. */
  readonly from: number;
  /** Its place in this result. */
  readonly to: number;
}

/** What the core says is new. */
export function toDiff({ diff }: CoreResult): Diff {
  return {
    key: diff.key,
    removed: Array.from(diff.removed),
    inserted: Array.from(diff.inserted),
    updated: pairs(diff.updated),
    moved: pairs(diff.moved),
  };
}

/** All rows are new: what a consumer is told first. */
export function allInserted(key: readonly string[], rows: number): Diff {
  const inserted = Array.from({ length: rows }, (_, at) => at);
  return { key, removed: [], inserted, updated: [], moved: [] };
}

/** Nothing is new. */
export function unchanged(key: readonly string[]): Diff {
  return allInserted(key, 0);
}

/** What two differences are together, the second after the first. The numbers are those of the rows. */
export function together(first: Diff, second: Diff, before: number, between: number, after: number): Diff {
  const [early, late] = [origins(first, before, between), origins(second, between, after)];
  const changed = new Set(second.updated.map(({ to }) => to));
  const changedBefore = new Set(first.updated.map(({ to }) => to));
  const from = late.map((middle) => (middle < 0 ? -1 : (early[middle] as number)));
  const isChanged = (to: number): boolean => changed.has(to) || changedBefore.has(late[to] as number);
  return fromOrigins(second.key, from, before, isChanged);
}

/**
 * Finds rows again in a list that was made without knowing them: by the columns of the key, or without any by all that
 * they are. Those that are equal are the objects of before, and when all are, the list is, too.
 */
export function align<R extends object>(
  key: readonly string[],
  before: readonly R[],
  after: readonly R[],
): { rows: readonly R[]; diff: Diff } {
  const places = new Map<string, number[]>();
  // From the end, so that of several that are the same the first is found first.
  for (let at = before.length - 1; at >= 0; at -= 1) {
    const name = nameOf(before[at] as R, key);
    const known = places.get(name);
    if (known) known.push(at);
    else places.set(name, [at]);
  }
  const from = new Int32Array(after.length).fill(-1);
  const rows = after.map((row, to) => {
    const place = places.get(nameOf(row, key))?.pop();
    if (place === undefined) return row;
    from[to] = place;
    const known = before[place] as R;
    return key.length === 0 || nameOf(known, []) === nameOf(row, []) ? known : row;
  });
  const diff = fromOrigins(key, from, before.length, (to) => rows[to] !== before[from[to] as number]);
  const isSame = rows.length === before.length && rows.every((row, at) => row === before[at]);
  return { rows: isSame ? before : rows, diff };
}

/** The difference, where it is known of each row from which place it comes, or that it is new (-1). */
function fromOrigins(
  key: readonly string[],
  from: Int32Array,
  before: number,
  isChanged: (to: number) => boolean,
): Diff {
  const inserted: number[] = [];
  const updated: FromTo[] = [];
  const stays: FromTo[] = [];
  const isKept = new Uint8Array(before);
  from.forEach((place, to) => {
    if (place < 0) {
      inserted.push(to);
      return;
    }
    isKept[place] = 1;
    stays.push({ from: place, to });
    if (isChanged(to)) updated.push({ from: place, to });
  });
  const removed: number[] = [];
  for (let place = 0; place < before; place += 1) if (isKept[place] === 0) removed.push(place);
  const isInOrder = longestInOrder(stays);
  return { key, removed, inserted, updated, moved: stays.filter((_, at) => !isInOrder[at]) };
}

/** A text that two rows have in common exactly when they are equal in these columns, or in all without any. */
function nameOf(row: object, key: readonly string[]): string {
  const values = row as Record<string, unknown>;
  const names = key.length === 0 ? Object.keys(values) : key;
  return names.map((name) => `${sized(name)}${sized(textOf(values[name]))}`).join("");
}

function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes ${value.join()}`;
  return `${typeof value} ${Object.is(value, -0) ? "-0" : String(value)}`;
}

/** So that where one ends does not depend on what is in it. */
function sized(text: string): string {
  return `${text.length}:${text}`;
}

/**
 * Brings a list up to date that has an item for each row of the result before: afterwards it has one for each row of
 * this result. `make` is called for rows that are inserted or updated; all other items stay as they are. A list of
 * another length is made anew.
 */
export function applyDiff<R, T>(list: T[], rows: readonly R[], diff: Diff, make: (row: R, place: number) => T): T[] {
  const before = rows.length - diff.inserted.length + diff.removed.length;
  if (list.length !== before) return rows.map(make);
  const from = origins(diff, before, rows.length);
  const changed = new Set(diff.updated.map(({ to }) => to));
  return rows.map((row, to) => {
    const place = from[to] as number;
    return place < 0 || changed.has(to) ? make(row, to) : (list[place] as T);
  });
}

/** Where each row was before, or -1. */
function origins(diff: Diff, before: number, after: number): Int32Array {
  const from = new Int32Array(after).fill(-2);
  const isTaken = new Uint8Array(before);
  for (const place of diff.removed) isTaken[place] = 1;
  for (const place of diff.inserted) from[place] = -1;
  for (const moved of diff.moved) {
    from[moved.to] = moved.from;
    isTaken[moved.from] = 1;
  }
  // All others are in the order in which they were.
  let next = 0;
  for (let to = 0; to < after; to += 1) {
    if (from[to] !== -2) continue;
    while (isTaken[next] === 1) next += 1;
    from[to] = next;
    next += 1;
  }
  return from;
}

/** Which of them belong to a longest part that is in the order in which it was. */
function longestInOrder(stays: readonly FromTo[]): boolean[] {
  // Of all parts of one length, that which ends first; and what is before each in its part.
  const ends: number[] = [];
  const before = new Int32Array(stays.length).fill(-1);
  stays.forEach(({ from }, at) => {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((stays[ends[middle] as number] as FromTo).from < from) low = middle + 1;
      else high = middle;
    }
    if (low > 0) before[at] = ends[low - 1] as number;
    ends[low] = at;
  });
  const isInOrder = new Array<boolean>(stays.length).fill(false);
  for (let at = ends.at(-1) ?? -1; at >= 0; at = before[at] as number) isInOrder[at] = true;
  return isInOrder;
}

function pairs(flat: Uint32Array): FromTo[] {
  const made: FromTo[] = [];
  for (let at = 0; at + 1 < flat.length; at += 2) made.push({ from: flat[at] as number, to: flat[at + 1] as number });
  return made;
}
