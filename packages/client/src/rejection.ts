/** What was written and did not happen. */

import type { CorePending, CoreRejection } from "./core.js";
import type { Link } from "./link.js";
import { type Fates, type Mutation, type MutationState, toState } from "./mutation.js";
import { type Row, type Value, fromMicroseconds } from "./values.js";

/** What waits for the server. */
export interface Pending {
  /** In the order in which it was written. */
  readonly mutations: readonly PendingMutation[];
  /** How many there are. */
  readonly count: number;
  /** How long the oldest has waited, in milliseconds. */
  readonly oldestAge: number | null;
}

/** A write that waits. */
export interface PendingMutation {
  /** By which {@link TidewireClient.mutation} finds it. */
  readonly id: number;
  readonly writtenAt: Date;
  /** The rows that it has written. */
  readonly rows: readonly { readonly table: string; readonly key: Value | readonly Value[] }[];
  readonly state: MutationState;
}

/** What a rejected write was to do to one row. */
export interface RejectedOperation {
  /** `namespace.table`. */
  readonly table: string;
  readonly kind: "insert" | "upsert" | "update" | "delete";
  /** The row: the columns of the primary key, and their values. */
  readonly key: Row;
  /** The columns that were written. */
  readonly set: Row;
  /** The columns that were added to. */
  readonly add: Row;
  /** The row as the server had it when it decided: `unknown` where it has not said, `gone` where it was not there. */
  readonly server: { readonly state: "unknown" | "gone" } | { readonly state: "row"; readonly row: Row };
}

/**
 * A write that did not happen, or is not known to have. It is undone, and kept on this device until the application
 * has dealt with it, also over a reload.
 */
export class Rejection {
  readonly id: number;
  readonly writtenAt: Date;
  /** `rejected`, with code and reason, or `uncertain`. */
  readonly state: MutationState;
  /** The queue that waits for it. */
  readonly queue: string | null;
  /** What it was to do. */
  readonly operations: readonly RejectedOperation[];
  readonly #link: Link;
  readonly #fates: Fates;
  readonly #onDealt: () => void;

  /** @internal */
  constructor(link: Link, fates: Fates, core: CoreRejection, onDealt: () => void) {
    this.id = core.id;
    this.writtenAt = fromMicroseconds(core.writtenAt);
    this.state = toState(core.state);
    this.queue = core.queue;
    this.operations = core.operations as readonly RejectedOperation[];
    this.#link = link;
    this.#fates = fates;
    this.#onDealt = onDealt;
  }

  /** Writes it again as it was, with what it expected. */
  async retry(): Promise<Mutation> {
    const mutation = await this.#fates.mutation(this.#link.call("retry", this.id));
    this.#onDealt();
    return mutation;
  }

  /** Forgets it. Says whether it was still there. */
  async discard(): Promise<boolean> {
    const wasThere = await this.#link.call("discard", this.id);
    this.#onDealt();
    return wasThere;
  }
}

/** As the application sees it. */
export function toPending({ mutations, oldestAgeMs }: CorePending): Pending {
  const made = mutations.map(({ id, writtenAt, rows, state }) => ({
    id,
    writtenAt: fromMicroseconds(writtenAt),
    rows: rows as PendingMutation["rows"],
    state: toState(state),
  }));
  return { mutations: made, count: made.length, oldestAge: oldestAgeMs ?? null };
}
