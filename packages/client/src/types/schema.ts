/** The tables of a server, as whoever has the token sees them. */

import { messageOf } from "../errors.js";
import type { Task } from "./arguments.js";
import { Failure } from "./failure.js";

export interface Table {
  readonly namespace: string;
  readonly name: string;
  readonly kind: string;
  /** What role user may do, of a SHARED table. */
  readonly access: string | null;
  /** In the order of `SELECT *`. */
  readonly columns: readonly Column[];
}

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly notNull: boolean;
  /** As it is written in SQL. */
  readonly default: string | null;
  /** Declared `MERGE ADD`. */
  readonly adds: boolean;
  readonly isKey: boolean;
  /** The server fills it with whoever writes. */
  readonly isOwner: boolean;
}

/** One statement, which reads the schema at one moment. Tables of the server itself are none of an application. */
const SQL = `
  SELECT t.namespace, t.name, t.kind, t.access_level, t.owner_column, t.primary_key,
         c.name, c.type, c.not_null, c.default_value, c.merge
  FROM system.tables t JOIN system.columns c ON c.namespace = t.namespace AND c.table_name = t.name
  WHERE t.namespace <> 'system'
  ORDER BY t.namespace, t.name, c.position`;

type Text = string;
type Line = [Text, Text, Text, Text | null, Text | null, Text, Text, Text, boolean, Text | null, Text];

/** How long the server may take, in milliseconds. */
const WITHIN_MS = 30_000;

/** Reads the tables that are wanted, in the order of their names. Throws {@link Failure}. */
export async function readSchema(task: Pick<Task, "url" | "token" | "namespaces">): Promise<Table[]> {
  const lines = await ask(task.url, task.token);
  const tables = new Map<string, Table & { columns: Column[] }>();
  for (const [namespace, name, kind, access, owner, key, ...[column, type, notNull, written, merge]] of lines) {
    const full = `${namespace}.${name}`;
    const table = tables.get(full) ?? { namespace, name, kind, access, columns: [] };
    tables.set(full, table);
    const [isKey, isOwner] = [key.split(", ").includes(column), owner === column];
    table.columns.push({ name: column, type, notNull, default: written, adds: merge === "ADD", isKey, isOwner });
  }
  return wanted([...tables.values()], task);
}

function wanted(tables: Table[], { namespaces, url }: Pick<Task, "namespaces" | "url">): Table[] {
  if (tables.length === 0) {
    throw unlucky(`this token reads no table at ${url.host}: create one, or give a token of who may read them`);
  }
  for (const name of namespaces) {
    if (tables.some(({ namespace }) => namespace === name)) continue;
    const others = [...new Set(tables.map(({ namespace }) => namespace))].join(", ");
    throw unlucky(
      `this token reads no table of the namespace ${name} at ${url.host}: there are tables in ${others}; ` +
        "see how it is written, or give a token of who may read it",
    );
  }
  return namespaces.length === 0 ? tables : tables.filter(({ namespace }) => namespaces.includes(namespace));
}

async function ask(url: URL, token: string): Promise<Line[]> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify({ sql: SQL }),
      // The token is for the address that was given.
      redirect: "manual",
      signal: AbortSignal.timeout(WITHIN_MS),
    });
    text = await response.text();
  } catch (error) {
    const why = reasonOf(error);
    throw unlucky(`the server at ${url.host} cannot be reached (${why}): start it, or see how the url is written`);
  }
  const answer = parse(text);
  if (response.ok && answer?.rows) return answer.rows as Line[];
  throw refusal(url, response, answer?.error);
}

interface Answer {
  rows?: unknown[];
  error?: { code?: unknown; message?: unknown; retry?: unknown };
}

function parse(text: string): Answer | undefined {
  try {
    return (JSON.parse(text) ?? undefined) as Answer | undefined;
  } catch {
    return undefined;
  }
}

/** Why there are no tables in an answer. */
function refusal(url: URL, { status, headers }: Response, error: Answer["error"]): Failure {
  const location = headers.get("Location");
  if (status >= 300 && status < 400 && location) {
    return unlucky(`the server at ${url.host} leads on to ${location}: give that address to --url`);
  }
  if (typeof error?.code !== "string") {
    // A proxy answers so while the server behind it is away.
    const what = `${url.href} is answered with ${status}, and not by a Tidewire server`;
    return unlucky(`${what}: see how the url is written`);
  }
  const { code, message } = error;
  if (code === "needs_auth" || code === "forbidden") {
    const what = `the server refuses the token: ${message}`;
    return new Failure(`${what}. \`tidewire token\` makes one: give it in TIDEWIRE_TOKEN`, false);
  }
  return unlucky(`the server at ${url.host} does not tell its tables (${code}): ${message}`);
}

/** What may be otherwise at the next look. */
function unlucky(message: string): Failure {
  return new Failure(message, true);
}

function reasonOf(error: unknown): string {
  const { cause, name } = error as { cause?: { code?: unknown } & Partial<Error>; name?: string };
  if (name === "TimeoutError") return `no answer in ${WITHIN_MS / 1000} seconds`;
  if (typeof cause?.code === "string") return cause.code;
  return cause?.message ?? messageOf(error);
}
