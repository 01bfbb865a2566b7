/** The file that is written. Whoever reads it finds the old one or the new one, and never a part. */

import { readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import { messageOf } from "../errors.js";
import { Failure } from "./failure.js";

/** Writes it, unless it is the same already; says whether it did. Throws {@link Failure}. */
export function write(path: string, text: string): boolean {
  if (read(path) === text) return false;
  let made: string | undefined;
  try {
    const target = behind(path);
    made = join(dirname(target), `.${basename(target)}.${process.pid}`);
    writeFileSync(made, text);
    renameSync(made, target);
  } catch (error) {
    if (made !== undefined) rmSync(made, { force: true });
    const why = codeOf(error);
    throw new Failure(`${path} cannot be written (${why}): see that its folder is there and may be written`, true);
  }
  return true;
}

/** What is in it, if it is there. Throws {@link Failure}. */
export function read(path: string): string | undefined {
  try {
    // Git may have given its lines other ends.
    return readFileSync(path, "utf8").replaceAll("\r\n", "\n");
  } catch (error) {
    const why = codeOf(error);
    if (why === "ENOENT") return undefined;
    throw new Failure(`${path} cannot be read (${why}): name a file with --out that may be read and written`, true);
  }
}

/** A link stays one. */
function behind(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? messageOf(error);
}
