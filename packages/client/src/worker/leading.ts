/** What the leader does for the pages of other workers. */

import type { Opening, Program } from "../messages.js";
import { type Hello, compare } from "../version.js";
import { type Answer, type Said, openOutbox, presence, presentClients } from "./channel.js";
import type { Guest, Storage } from "./guest.js";
import { Host } from "./host.js";

/** How often it is looked which pages are there, in milliseconds. */
const LOOK_EVERY_MS = 5 * 60_000;

/**
 * How long a client is gone before its requests are forgotten, in milliseconds. A page that a browser keeps for the way
 * back is not there, and asks again when it comes.
 */
const GONE_FOR_MS = 30 * 60_000;

/** The page of another worker. */
class Visitor implements Guest {
  readonly id: string;
  readonly #leader: string;
  readonly #outbox: BroadcastChannel;
  /** When somebody began to see it; 0 while nobody does. */
  seenAt = 0;
  readonly hello: Hello;
  #isGone = false;

  constructor(id: string, leader: string, hello: Hello) {
    this.id = id;
    this.hello = hello;
    this.#leader = leader;
    this.#outbox = openOutbox(id);
  }

  post(told: Answer["told"]): void {
    if (!this.#isGone) this.#outbox.postMessage({ leader: this.#leader, told } satisfies Answer);
  }

  close(): void {
    this.#isGone = true;
    this.#outbox.close();
  }
}

export class Leading {
  readonly #id: string;
  readonly #locks: LockManager | undefined;
  readonly #storages: readonly Storage[];
  readonly #host: Host;
  readonly #visitors = new Map<string, Visitor>();
  readonly #over = new AbortController();
  readonly #module: Program;
  readonly #begunAt = Date.now();
  /** When each client was there for the last time. */
  readonly #clients = new Map<string, number>();

  constructor(
    id: string,
    module: Program,
    storages: readonly Storage[],
    locks: LockManager | undefined,
    onTrap: () => void,
  ) {
    this.#id = id;
    this.#module = module;
    this.#storages = storages;
    this.#locks = locks;
    this.#host = new Host(storages, onTrap);
    const clock = setInterval(() => this.#forgetRequests().catch(() => undefined), LOOK_EVERY_MS);
    this.#over.signal.addEventListener("abort", () => clearInterval(clock));
  }

  get host(): Host {
    return this.#host;
  }

  /** The page that is seen, and was seen last of those that are. One of an older version is none. */
  seen(own: Hello): string | undefined {
    const seen = [...this.#visitors.values()].filter(({ seenAt, hello }) => seenAt > 0 && compare(hello, own) >= 0);
    return seen.sort((a, b) => b.seenAt - a.seenAt)[0]?.id;
  }

  /** Hears what a page of another worker wants. */
  receive({ from, asked }: Said & { type: "ask" }): void {
    const visitor = this.#visitors.get(from);
    switch (asked.type) {
      case "open":
        void this.#open(visitor ?? this.#enter(from, asked.opening, asked.hello), asked.opening);
        break;
      case "ping":
        visitor?.post({ type: "pong" });
        break;
      case "visible":
        if (visitor) visitor.seenAt = asked.isVisible ? Date.now() : 0;
        break;
      default:
        if (visitor) void this.#host.receive(visitor, asked);
    }
  }

  /** Closes all that is open, so that another worker can have it. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.#host.end();
    for (const visitor of this.#visitors.values()) visitor.close();
    this.#visitors.clear();
    for (const storage of this.#storages) await storage.letGo?.();
  }

  async #open(visitor: Visitor, opening: Opening): Promise<void> {
    visitor.seenAt = opening.isVisible ? Date.now() : 0;
    await this.#host.open(visitor, opening, this.#module);
  }

  #enter(id: string, { client }: Opening, hello: Hello): Visitor {
    const visitor = new Visitor(id, this.#id, hello);
    this.#visitors.set(id, visitor);
    // It is given when whoever has it has gone, however that was.
    const gone = this.#locks?.request(presence(client, id), { signal: this.#over.signal }, () => {
      this.#clients.set(client, Date.now());
      this.#visitors.delete(id);
      visitor.close();
      void this.#host.leave(visitor);
    });
    gone?.catch(() => undefined);
    return visitor;
  }

  /** Forgets the requests of clients that will not ask again. */
  async #forgetRequests(): Promise<void> {
    if (!this.#locks) return;
    const now = Date.now();
    for (const client of await presentClients(this.#locks)) this.#clients.set(client, now);
    // Before that it is not known who was there.
    if (now - this.#begunAt < GONE_FOR_MS) return;
    for (const [client, seenAt] of this.#clients) if (now - seenAt > GONE_FOR_MS) this.#clients.delete(client);
    await this.#host.keepRequests([...this.#clients.keys()]);
  }
}
