// The server that is tested: the real program, with its data in a folder of its own.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const READY = "tidewire is ready at ";
const READY_WITHIN_MS = 60_000;
const END_WITHIN_MS = 60_000;

const run = promisify(execFile);

function binary() {
  const path = process.env.TIDEWIRE_BINARY;
  if (!path) throw new Error("TIDEWIRE_BINARY is not set: `cargo xtask test` does it, or name the server program");
  return path;
}

/** A data directory, and the servers that run on it one after the other. They keep the port of the first one. */
export class Server {
  #folder;
  #process;
  #address = "127.0.0.1:0";
  #tokens = new Map();
  /** What it wrote to standard error. */
  log = [];

  /** Starts one with these tables in the namespace `app`. */
  static async start(tables = []) {
    const server = new Server();
    server.#folder = await mkdtemp(join(tmpdir(), "tidewire-browser-server-"));
    try {
      await server.start();
      await server.sql("CREATE NAMESPACE app");
      for (const table of tables) await server.sql(table);
    } catch (error) {
      await server.remove();
      throw error;
    }
    return server;
  }

  /** `host:port`. */
  get address() {
    return this.#address;
  }

  get #data() {
    return join(this.#folder, "data");
  }

  /** Starts it again, on the same port and data, and waits until it is ready. */
  async start() {
    const child = spawn(binary(), ["serve", "--data", this.#data, "--listen", this.#address], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    createInterface({ input: child.stderr }).on("line", (line) => this.log.push(line));
    const lines = createInterface({ input: child.stdout });
    const [line] = await Promise.race([
      once(lines, "line", { signal: AbortSignal.timeout(READY_WITHIN_MS) }),
      // Also rejects when there is no such program.
      once(child, "exit").then(([code]) => [`it has ended with ${code}`]),
    ]);
    if (!line.startsWith(READY)) throw new Error(`the server is not ready: ${line}\n${this.log.join("\n")}`);
    this.#address = new URL(line.slice(READY.length).trim()).host;
  }

  /** Asks it to stop, and waits until it has. */
  async stop() {
    await this.#end("SIGTERM");
  }

  /** Ends it as a power cut ends a process. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Ends it, and removes its data. */
  async remove() {
    await this.#end("SIGKILL");
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(signal) {
    const child = this.#process;
    this.#process = undefined;
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit", { signal: AbortSignal.timeout(END_WITHIN_MS) });
    child.kill(signal);
    await ended;
  }

  /** A token of this user. */
  async token(user, role = "user") {
    const key = `${role} ${user}`;
    let token = this.#tokens.get(key);
    if (!token) {
      const { stdout } = await run(binary(), ["token", "--data", this.#data, "--user", user, "--role", role]);
      token = stdout.trim();
      this.#tokens.set(key, token);
    }
    return token;
  }

  /** Runs a statement as the administrator, or as this user, and gives its answer. */
  async sql(sql, params = [], user) {
    const token = user ? await this.token(user) : await this.token("root", "admin");
    const response = await fetch(`http://${this.#address}/v1/sql`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify({ sql, params }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${sql}: ${JSON.stringify(answer.error)}`);
    return answer;
  }

  /** The rows of a statement. */
  async rows(sql, user) {
    return (await this.sql(sql, [], user)).rows;
  }
}
