#!/usr/bin/env node
/**
 * `tidewire-types`: writes the tables of a server as TypeScript. It runs in Node; nothing of the SDK loads it.
 *
 * `arguments.ts` says what to do, `schema.ts` reads the tables, `print.ts` and `names.ts` make the text, `file.ts`
 * writes it, and `follow.ts` does so again and again.
 */

import { HELP, type Task, readArguments } from "./arguments.js";
import { Failure, Misuse } from "./failure.js";
import { read, write } from "./file.js";
import { follow } from "./follow.js";
import { print } from "./print.js";
import { readSchema } from "./schema.js";

const SUCCESS = 0;
const FAILED = 1;
const MISUSED = 2;

async function run(): Promise<number> {
  try {
    const task = readArguments(process.argv.slice(2), process.env);
    if (task === undefined) {
      process.stdout.write(HELP);
      return SUCCESS;
    }
    if (task.what === "watch") return await follow(task, say);
    const text = print(await readSchema(task));
    return task.what === "check" ? check(task, text) : once(task, text);
  } catch (error) {
    if (error instanceof Misuse) return complain(`${error.message}. --help says how it is called`, MISUSED);
    if (error instanceof Failure) return complain(error.message, FAILED);
    throw error;
  }
}

function once({ out }: Task, text: string): number {
  say(write(out, text) ? `${out} is written` : `${out} is what the server has`);
  return SUCCESS;
}

function check({ out }: Task, text: string): number {
  const there = read(out);
  if (there === text) {
    say(`${out} is what the server has`);
    return SUCCESS;
  }
  const again = "write it again with tidewire-types, without --check, and commit it";
  if (there === undefined) return complain(`there is no ${out}: ${again}`, FAILED);
  const [lines, wanted] = [there.split("\n"), text.split("\n")];
  const at = lines.findIndex((line, index) => line !== wanted[index]);
  const from = (at < 0 ? lines.length : at) + 1;
  return complain(`${out} is not what the server has, from line ${from} on: ${again}`, FAILED);
}

function say(line: string): void {
  process.stdout.write(`tidewire-types: ${line}\n`);
}

function complain(line: string, code: number): number {
  process.stderr.write(`tidewire-types: ${line}\n`);
  return code;
}

// Between two looks nothing is half done, and a look is not interrupted while it writes.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(SUCCESS));

process.exitCode = await run();
