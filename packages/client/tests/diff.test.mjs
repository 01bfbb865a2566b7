import assert from "node:assert/strict";
import { test } from "node:test";

import { align, applyDiff, together } from "../dist/diff.js";

/** Numbers that are the same in each run. */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (state * 1_103_515_245 + 12_345) & 0x7fffffff;
    return (state >> 8) % below;
  };
}

/** Rows have a key and a value; a row that is equal is the same object. */
function next(rows, draw) {
  const kept = rows.filter(() => draw(4) > 0).map((row) => (draw(4) === 0 ? { ...row, value: row.value + 1 } : row));
  for (let more = draw(4); more > 0; more -= 1) {
    const key = draw(1_000_000);
    kept.splice(draw(kept.length + 1), 0, { key, value: 0 });
  }
  if (draw(2) === 0 && kept.length > 1) kept.push(...kept.splice(draw(kept.length), 1));
  return kept;
}

/** As the core does it. */
function diffOf(before, after) {
  const place = new Map(before.map(({ key }, at) => [key, at]));
  const stays = [];
  const inserted = [];
  after.forEach(({ key }, to) => (place.has(key) ? stays.push({ from: place.get(key), to }) : inserted.push(to)));
  const kept = new Set(stays.map(({ from }) => from));
  const removed = before.map((_, at) => at).filter((at) => !kept.has(at));
  const updated = stays.filter(({ from, to }) => before[from] !== after[to]);
  // Not as few as can be, which is no difference to whoever applies it.
  let last = -1;
  const moved = stays.filter(({ from }) => (from > last ? ((last = from), false) : true));
  return { key: ["key"], removed, inserted, updated, moved };
}

test("two differences together bring the first list to the last one", () => {
  for (let seed = 1; seed <= 500; seed += 1) {
    const draw = random(seed);
    const a = next(next([], draw), draw);
    const b = next(a, draw);
    const c = next(b, draw);
    const both = together(diffOf(a, b), diffOf(b, c), a.length, b.length, c.length);
    const made = [];
    const list = applyDiff([...a], c, both, (row) => (made.push(row), row));
    assert.deepEqual(list, c, `seed ${seed}`);
    for (const row of made) assert.ok(!a.includes(row), `seed ${seed}: ${JSON.stringify(row)} is not new`);
  }
});

test("as few rows as can be have moved", () => {
  const nothing = { key: [], removed: [], inserted: [], updated: [], moved: [] };
  const toEnd = { ...nothing, moved: [{ from: 0, to: 3 }] };
  assert.deepEqual(together(toEnd, nothing, 4, 4, 4).moved, [{ from: 0, to: 3 }]);
  assert.deepEqual(together(toEnd, { ...nothing, moved: [{ from: 3, to: 0 }] }, 4, 4, 4).moved, []);
});

test("a list of another length is made anew", () => {
  const diff = { key: [], removed: [], inserted: [1], updated: [], moved: [] };
  assert.deepEqual(applyDiff([], ["a", "b"], diff, (row) => row.toUpperCase()), ["A", "B"]);
  assert.deepEqual(applyDiff(["x"], ["a", "b"], diff, (row) => row.toUpperCase()), ["x", "B"]);
});

test("rows that come again are found again, with a key and without", () => {
  for (let seed = 1; seed <= 500; seed += 1) {
    const draw = random(seed);
    const before = next(next([], draw), draw);
    const after = next(before, draw);
    // As from somebody who knows nothing of the first ones.
    const copy = after.map((row) => ({ ...row }));
    for (const key of [["key"], []]) {
      const { rows, diff } = align(key, before, copy);
      assert.deepEqual(rows, after, `seed ${seed}`);
      rows.forEach((row, at) => before.includes(after[at]) && assert.equal(row, after[at], `seed ${seed}`));
      assert.deepEqual(applyDiff([...before], rows, diff, (row) => row), rows, `seed ${seed}`);
      if (key.length > 0) {
        const { moved, ...rest } = diffOf(before, after);
        assert.deepEqual({ ...diff, moved }, { ...rest, moved }, `seed ${seed}`);
      } else {
        assert.deepEqual(diff.updated, [], `seed ${seed}`);
      }
    }
  }
});

test("only what is equal is taken for the same", () => {
  const values = [null, 0, -0, false, 0n, "0", "", "null", new Uint8Array([0]), new Uint8Array([]), "bytes 0"];
  const before = values.map((value) => ({ value }));
  const after = values.map((value) => ({ value: value instanceof Uint8Array ? value.slice() : value })).reverse();
  const { rows, diff } = align([], before, after);
  rows.forEach((row, at) => assert.equal(row, before[values.length - 1 - at]));
  assert.deepEqual([diff.removed, diff.inserted], [[], []]);
  // Where one value ends is not guessed from what is in it.
  const [one, another] = [{ a: "1", b: "2bstring 3" }, { a: "1bstring 2", b: "3" }];
  assert.deepEqual(align([], [one], [another]).diff.inserted, [0]);
});
