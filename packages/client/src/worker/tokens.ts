/** Tokens that a core wants: one page after the other is asked, since each gives that of the same user. */

import type { ToHost } from "../messages.js";
import type { Guest } from "./guest.js";

/** How long a page may take to give a token before another one is asked too, in milliseconds. */
const TOKEN_WITHIN_MS = 5_000;

/** A token that is wanted. */
interface Wanted {
  readonly id: number;
  /** Those who were asked and have not answered, those who take long, and those who have none. */
  readonly asked: Set<Guest>;
  readonly late: Set<Guest>;
  readonly refused: Set<Guest>;
  resolve(token: string): void;
  reject(error: Error): void;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export class Tokens {
  readonly #guests: () => Iterable<Guest>;
  readonly #wanted = new Map<number, Wanted>();
  #last = 0;

  /** `guests`: the pages that can be asked. */
  constructor(guests: () => Iterable<Guest>) {
    this.#guests = guests;
  }

  /** One is wanted. It waits until there is a page to ask. */
  want(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#last += 1;
      const [asked, late, refused] = [new Set<Guest>(), new Set<Guest>(), new Set<Guest>()];
      const wanted = { id: this.#last, asked, late, refused, resolve, reject, timer: undefined };
      this.#wanted.set(wanted.id, wanted);
      this.#askNext(wanted);
    });
  }

  /** There is one more page. */
  joined(): void {
    for (const wanted of this.#wanted.values()) if (wanted.asked.size === 0) this.#askNext(wanted);
  }

  /** A page has gone. */
  left(guest: Guest): void {
    for (const wanted of this.#wanted.values()) {
      wanted.late.delete(guest);
      if (wanted.asked.delete(guest)) this.#askNext(wanted);
    }
  }

  /** A page has given one, or none. */
  answer(guest: Guest, message: ToHost & { type: "token" | "no_token" }): void {
    const wanted = this.#wanted.get(message.id);
    if (!wanted || !(wanted.asked.delete(guest) || wanted.late.delete(guest))) return;
    if (message.type === "token") {
      this.#forget(wanted);
      wanted.resolve(message.token);
      return;
    }
    wanted.refused.add(guest);
    if (!this.#askNext(wanted) && wanted.asked.size === 0) {
      this.#forget(wanted);
      wanted.reject(new Error(message.message));
    }
  }

  #forget({ id, timer }: Wanted): void {
    this.#wanted.delete(id);
    clearTimeout(timer);
  }

  /** Asks one more page, if there is one. */
  #askNext(wanted: Wanted): boolean {
    clearTimeout(wanted.timer);
    const { id, asked, late, refused } = wanted;
    const next = [...this.#guests()].find((guest) => ![asked, late, refused].some((those) => those.has(guest)));
    if (!this.#wanted.has(id) || !next) return false;
    asked.add(next);
    next.post({ type: "token", id });
    // A page that is frozen does not answer.
    wanted.timer = setTimeout(() => {
      asked.delete(next);
      late.add(next);
      this.#askNext(wanted);
    }, TOKEN_WITHIN_MS);
    return true;
  }
}
