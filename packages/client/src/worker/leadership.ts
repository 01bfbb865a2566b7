/** The lock that says who leads. A browser gives it to the next one, however whoever has it ends. */

import { LEADERSHIP } from "./channel.js";

/** What begins and ends with it. */
export interface LeadershipUser {
  /** It has the lock, until it gives it away. */
  onGiven(): void;
  /** It does not have the lock any more. Done when another turn can come. */
  onOver(): Promise<void>;
  /** Nobody may have locks here. */
  onRefused(): void;
}

export class Leadership {
  readonly #locks: LockManager;
  readonly #user: LeadershipUser;
  /** Of the turn that it waits for, or has. */
  #turn: AbortController | undefined;
  #release: (() => void) | undefined;

  constructor(locks: LockManager, user: LeadershipUser) {
    this.#locks = locks;
    this.#user = user;
  }

  /** Gives away the lock of this turn, and waits for the next one; `undefined` while it does not have it. */
  get release(): (() => void) | undefined {
    return this.#release;
  }

  /** Waits for the lock, or takes it from whoever has it. */
  async want(isTaking: boolean): Promise<void> {
    this.#turn?.abort();
    const turn = new AbortController();
    this.#turn = turn;
    const options: LockOptions = isTaking ? { steal: true } : { signal: turn.signal };
    try {
      await this.#locks.request(LEADERSHIP, options, () => (turn.signal.aborted ? undefined : this.#hold()));
    } catch (error) {
      // Otherwise another one has taken it, or it is not wanted any more.
      if ((error as DOMException).name !== "AbortError") {
        this.#user.onRefused();
        return;
      }
    }
    if (turn.signal.aborted) return;
    this.#release = undefined;
    await this.#user.onOver();
    if (!turn.signal.aborted) void this.want(false);
  }

  /** It wants the lock no more. */
  end(): void {
    this.#turn?.abort();
    this.#release?.();
  }

  #hold(): Promise<void> {
    const over = new Promise<void>((resolve) => (this.#release = resolve));
    this.#user.onGiven();
    return over;
  }
}
