/** What became of a write. */

import type { Again } from "./again.js";
import type { CoreMutationState, CoreWrote } from "./core.js";
import { TidewireError, codeOf, type ErrorCode } from "./errors.js";
import type { Link } from "./link.js";
import { Listeners, type Notices, type Unsubscribe, tell } from "./listeners.js";
import { type Row, toRows } from "./values.js";

/**
 * How it is with a write.
 *
 * | state | |
 * | --- | --- |
 * | `local` | it wrote what stays on this device, or changed nothing: there is nothing to decide |
 * | `queued` | stored here, and waits to be sent |
 * | `sent` | it may have left the device |
 * | `stuck` | it cannot be delivered for now; later writes of its lane wait for it |
 * | `accepted` | it has happened; `seq` is where its lane was right after it |
 * | `rejected` | it is undone; what was taken back has the code `cancelled` |
 * | `expired` | its rows had a time to live, which passed before it was sent; it is undone |
 * | `uncertain` | the server does not know any more whether it has happened; it is undone here |
 */
export type MutationState =
  | { readonly state: "local" | "queued" | "sent" | "expired" | "stuck" | "uncertain" }
  | { readonly state: "accepted"; readonly seq: number }
  | { readonly state: "rejected"; readonly code: ErrorCode; readonly reason: string };

/** How something is written. */
export interface WriteOptions {
  /** Fails at once with `offline` where there is no connection, and is never sent later. */
  online?: boolean | undefined;
  /** Writes of one queue are sent one after the other, each when the one before it is decided. */
  queue?: string | undefined;
  /** `hold`: when a write of the queue is rejected, the later ones wait until that is dealt with. */
  onReject?: "hold" | "continue" | undefined;
  /**
   * `unchanged`: it is rejected with `conflict` where the server has other values than were shown here before, in the
   * columns that this device has of the rows which are changed or deleted; what is declared `MERGE ADD` may differ.
   */
  expect?: "anything" | "unchanged" | undefined;
  /**
   * The id of a write whose place this one takes, in one step: of one that was rejected, which is dealt with so, or
   * of one that waits and has not left the device. Another one is refused with `conflict`, and stays.
   */
  replaces?: number | undefined;
}

/** What a write has done here, and what becomes of it. It is stored on this device; to drop this changes nothing. */
export class Mutation {
  /**
   * By which {@link TidewireClient.mutation} finds it, also after a reload; `null` for one that is local, or was
   * accepted in a stand-in. If a power
   * cut takes a write that was not sent, another one may be given its id.
   */
  readonly id: number | null;
  /** How many rows its statements have written here. */
  readonly rowsAffected: number;
  /** What RETURNING of its last statement has given. */
  readonly rows: readonly Row[];
  readonly #link: Link;
  readonly #fate: Fate;

  /** @internal */
  constructor(link: Link, wrote: CoreWrote, fate: Fate) {
    this.id = wrote.id;
    this.rowsAffected = wrote.rowsAffected;
    this.rows = toRows(wrote.columns, wrote.rows);
    this.#link = link;
    this.#fate = fate;
  }

  /** How it is with it. */
  get state(): MutationState {
    return this.#fate.state;
  }

  /**
   * Waits until it is decided, and says how: also a rejection is an answer, and no error. That may take as long as
   * the device is offline.
   *
   * Rejects when the client is closed, and with `internal` when the worker has stopped and it is not known any more.
   */
  decided(): Promise<MutationState> {
    return this.#fate.decided();
  }

  /** Calls back with each further state. */
  onChange(callback: (state: MutationState) => void): Unsubscribe {
    return this.#fate.listeners.add(callback);
  }

  /**
   * Takes it back, as long as it has not left the device: what it shows is undone, and later writes stay. Says
   * whether that was possible.
   */
  async cancel(): Promise<boolean> {
    return this.id === null ? false : await this.#link.call("cancel", this.id);
  }
}

/** The state of one write. All handles of it share it. */
export class Fate {
  readonly listeners = new Listeners<MutationState>();
  state: MutationState;
  #error: TidewireError | undefined;
  readonly #waiting = new Set<{ resolve(state: MutationState): void; reject(error: TidewireError): void }>();

  constructor(state: MutationState) {
    this.state = state;
  }

  get isDecided(): boolean {
    return !["queued", "sent", "stuck"].includes(this.state.state);
  }

  decided(): Promise<MutationState> {
    if (this.isDecided) return Promise.resolve(this.state);
    if (this.#error) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => this.#waiting.add({ resolve, reject }));
  }

  apply(state: MutationState, notices: Notices): void {
    // What is decided stays so: an answer that was on its way may be older.
    if (this.isDecided || isSame(this.state, state)) return;
    this.state = state;
    this.listeners.notify(state, notices);
    if (!this.isDecided) return;
    for (const { resolve } of this.#waiting) notices.push(() => resolve(state));
    this.#waiting.clear();
  }

  /** Nobody will say how it is decided. */
  end(error: TidewireError): void {
    this.#error = error;
    for (const { reject } of this.#waiting) reject(error);
    this.#waiting.clear();
  }
}

/** The writes of this page that are not decided. */
export class Fates {
  readonly #link: Link;
  readonly #again: Again;
  readonly #undecided = new Map<number, Fate>();
  /** Is called when that may be another. */
  readonly #onWaiting: () => void;
  /** Writes that the core was asked for, or about, and has not answered; and those of them that are new. */
  #asked = 0;
  #unstored = 0;
  /** What was told of writes whose answer was still on its way. */
  readonly #early = new Map<number, MutationState>();

  constructor(link: Link, again: Again, onWaiting: () => void) {
    this.#link = link;
    this.#again = again;
    this.#onWaiting = onWaiting;
  }

  /** Whether something that was written here is not decided, or not even stored. */
  get isWaiting(): boolean {
    return this.#undecided.size > 0 || this.#unstored > 0;
  }

  /** Makes a handle of what the core answers. `isNew`: it was not written before. */
  async mutation(answer: Promise<CoreWrote>, isNew = true): Promise<Mutation> {
    this.#asked += 1;
    this.#unstored += Number(isNew);
    this.#onWaiting();
    try {
      const wrote = await answer;
      return new Mutation(this.#link, wrote, this.#fate(wrote));
    } finally {
      this.#asked -= 1;
      this.#unstored -= Number(isNew);
      if (this.#asked === 0) this.#early.clear();
      this.#onWaiting();
    }
  }

  /** What the core says. */
  apply(id: number, core: CoreMutationState, notices: Notices): void {
    const state = toState(core);
    const fate = this.#undecided.get(id);
    if (!fate) {
      if (this.#asked > 0) this.#early.set(id, state);
      return;
    }
    fate.apply(state, notices);
    if (fate.isDecided) this.#forget(id);
  }

  /** There is another worker, which is to say how it is with them. */
  askAgain(): void {
    for (const [id, fate] of this.#undecided) {
      const gone = new TidewireError(
        "internal",
        "the worker has stopped, and this write is not known any more: look at the rows before it is done again",
      );
      this.#again.ask(() => this.#link.call("mutation", id), {
        done: (wrote) => {
          const notices: Notices = [];
          if (wrote) this.apply(id, wrote.state, notices);
          else if (this.#forget(id)) fate.end(gone);
          tell(notices);
        },
        failed: () => undefined,
      });
    }
  }

  end(error: TidewireError): void {
    for (const fate of this.#undecided.values()) fate.end(error);
    this.#undecided.clear();
    this.#onWaiting();
  }

  #forget(id: number): boolean {
    const wasThere = this.#undecided.delete(id);
    this.#onWaiting();
    return wasThere;
  }

  #fate({ id, state }: CoreWrote): Fate {
    const known = id === null ? undefined : this.#undecided.get(id);
    const fate = known ?? new Fate(toState(state));
    const early = id === null ? undefined : this.#early.get(id);
    const notices: Notices = [];
    if (known) fate.apply(toState(state), notices);
    if (early) fate.apply(early, notices);
    if (id !== null) {
      if (fate.isDecided) this.#undecided.delete(id);
      else this.#undecided.set(id, fate);
      this.#onWaiting();
    }
    tell(notices);
    return fate;
  }
}

/** As the application sees it. */
export function toState(core: CoreMutationState): MutationState {
  switch (core.state) {
    case "accepted":
      return { state: "accepted", seq: core.seq };
    case "rejected":
      return { state: "rejected", code: codeOf(core.code), reason: core.reason };
    default:
      return { state: core.state };
  }
}

function isSame(a: MutationState, b: MutationState): boolean {
  return a.state === b.state;
}
