// Which seeds a randomised test runs: as the crate `seeds` does it, set by `cargo xtask soak`.
import { writeFileSync } from "node:fs";

/** Runs `test` for every seed: for so many in a plain test run. */
export async function forEach(name, seedsInTest, test) {
  const { TIDEWIRE_SOAK, TIDEWIRE_SOAK_FROM, TIDEWIRE_SOAK_SEEDS, TIDEWIRE_SOAK_MINUTES, TIDEWIRE_SOAK_PROGRESS } =
    process.env;
  const isSoak = TIDEWIRE_SOAK === name;
  const from = isSoak ? Number(TIDEWIRE_SOAK_FROM ?? 0) : 0;
  const seeds = isSoak ? Number(TIDEWIRE_SOAK_SEEDS ?? Infinity) : seedsInTest;
  const until = isSoak && TIDEWIRE_SOAK_MINUTES ? Date.now() + Number(TIDEWIRE_SOAK_MINUTES) * 60_000 : Infinity;
  for (let seed = from; seed - from < seeds && Date.now() < until; seed += 1) {
    try {
      await test(seed);
    } catch (error) {
      console.error(`${name} failed; to run it again: cargo xtask soak ${name} --seed ${seed}`);
      throw error;
    }
    if (isSoak && TIDEWIRE_SOAK_PROGRESS) {
      console.log(`${name}: ${seed + 1 - from} seeds passed, next is ${seed + 1}`);
      writeFileSync(TIDEWIRE_SOAK_PROGRESS, String(seed + 1));
    }
  }
}

/** Numbers from 0 to 1 that follow from a seed: mulberry32, by Tommy Ettinger. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
