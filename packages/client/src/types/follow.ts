/** Looks again and again. */

import { setTimeout as wait } from "node:timers/promises";

import type { Task } from "./arguments.js";
import { describe } from "./changes.js";
import { Failure } from "./failure.js";
import { write } from "./file.js";
import { print } from "./print.js";
import { type Table, readSchema } from "./schema.js";

/**
 * Keeps the file what the server has, and says each change in a line. What may pass is said once, and tried again.
 * Throws any other {@link Failure}; otherwise it never ends.
 */
export async function follow(task: Task, say: (line: string) => void): Promise<never> {
  const often = `every ${task.every / 1000} s`;
  let before: readonly Table[] | undefined;
  let trouble: string | undefined;
  for (;;) {
    try {
      const tables = await readSchema(task);
      const isNew = write(task.out, print(tables));
      if (before === undefined) say(`${task.out} ${isNew ? "is written" : "is what the server has"}: looking ${often}`);
      else if (isNew) say(`${task.out} is written: ${describe(before, tables) || "it was not what the server has"}`);
      else if (trouble !== undefined) say(`${task.out} is what the server has`);
      [before, trouble] = [tables, undefined];
    } catch (error) {
      if (!(error instanceof Failure && error.mayPass)) throw error;
      if (error.message !== trouble) say(`${error.message}. Looking again ${often}`);
      trouble = error.message;
    }
    await wait(task.every);
  }
}
