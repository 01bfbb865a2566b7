import assert from "node:assert/strict";
import { test } from "node:test";

import { applyDiff, together } from "../dist/diff.js";

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
