// What the compiler knows of a client whose tables are named, and of one of which nothing is said.
import assert from "node:assert/strict";
import { test } from "node:test";

import { compile } from "./compile.mjs";

const TABLES = `
  import type { Add } from "@tidewire/client";
  export type Tables = {
    "chat.messages": { row: Message; insert: MessageInsert; key: MessageKey; change: MessageChange };
    "chat.rooms": { row: Room; insert: Room; key: Room; change: { [column: string]: never } };
  };
  export type Message = { id: string; room: number; pinned: 0 | 1; seen: 0 | 1 | null; likes: number; _seq: number | null };
  export type MessageInsert = { id?: string; room: number | bigint; at?: Date; pinned?: boolean; likes?: number };
  export type MessageKey = { id: string };
  export type MessageChange = { room?: number; likes?: number | Add };
  export type Room = { id: number };
`;

const HEAD = `
  import { add, createClient, type RemoteRow, type TidewireClient, type Transaction } from "@tidewire/client";
  import type { Message, Tables } from "./tables.js";
  const options = { url: "https://sync.example.com", user: "ann", token: () => "t" };
  const client = createClient<Tables>(options);
  const any = createClient(options);
`;

/** Says whether lines compile, each in a function of its own, and names those that do otherwise than they should. */
function check(lines, isRight) {
  const source = lines.map((line, at) => `export async function f${at}() { ${line} }`).join("\n");
  const head = `${HEAD.trim()}\nvoid [client, any, add];\nexport type Used = [RemoteRow<Message>, TidewireClient, Transaction];\n`;
  const said = compile({ "tables.ts": TABLES, "application.ts": head + source });
  const first = head.split("\n").length;
  const wrong = new Set([...said.matchAll(/^application\.ts\((\d+)/gm)].map(([, line]) => lines[line - first]));
  assert.ok(!said.includes("tables.ts("), said);
  assert.deepEqual([...wrong].sort(), isRight ? [] : [...lines].sort(), said);
}

test("a client that knows its tables takes what they have", () => {
  check(
    [
      `await client.insert("chat.messages", { room: 7n, at: new Date(), pinned: true });`,
      `await client.insert("chat.messages", { room: 7 }, { online: true });`,
      `await client.update("chat.messages", { id: "m" }, { likes: add(1) });`,
      `await client.delete("chat.rooms", { id: 7 });`,
      `await client.batch(["DELETE FROM t", { sql: "SELECT", params: [1] }, { insert: "chat.rooms", values: { id: 7 } }]);`,
      `await client.batch([{ update: "chat.messages", key: { id: "m" }, set: { room: 8 } }, { delete: "chat.rooms", key: { id: 7 } }]);`,
      `await client.transaction(async (tx) => { await tx.insert("chat.rooms", { id: 7 }); await tx.delete("chat.rooms", { id: 7 }); });`,
      `await client.transaction((tx) => tx.expect("chat.messages", { id: "m" }, { room: 7 }));`,
      `const { value } = await client.transaction<number>(async () => 1); value.toFixed();`,
      `const [row] = await client.query<Message>("SELECT *"); row?._seq?.toFixed();`,
      `const [row] = await client.query<Pick<Message, "room">>("SELECT room"); row?.room.toFixed();`,
      `client.watch<Message>("SELECT *").onResult(({ rows }) => rows[0]?.pinned === 1);`,
      `const { rows } = await client.remote<RemoteRow<Message>>("SELECT *"); const it: boolean | null | undefined = rows[0]?.seen; return [it, rows[0]?.likes.toFixed()];`,
    ],
    true,
  );
});

test("a client that knows its tables refuses what they do not have", () => {
  check(
    [
      `await client.insert("chat.mesages", { room: 7 });`,
      `await client.insert("chat.messages", { room: 7, rom: 8 });`,
      `await client.insert("chat.messages", { likes: 7 });`,
      `await client.insert("chat.messages", { room: "7" });`,
      `await client.insert("chat.messages", { room: 7, pinned: undefined });`,
      `await client.update("chat.messages", { room: 7 }, { likes: 1 });`,
      `await client.update("chat.messages", { id: "m" }, { body: "x" });`,
      `await client.update("chat.messages", { id: "m" }, { room: add(1) });`,
      `await client.update("chat.rooms", { id: 7 }, { id: 8 });`,
      `await client.delete("chat.messages", { id: 7 });`,
      `await client.batch([{ insert: "chat.rooms", values: { room: 7 } }]);`,
      `await client.batch([{ insert: "chat.room", values: { id: 7 } }]);`,
      `await client.batch([{ update: "chat.messages", key: { id: "m" }, set: { body: "x" } }]);`,
      `await client.batch([{ delete: "chat.rooms", key: { id: "m" } }]);`,
      `await client.transaction((tx) => tx.insert("chat.rooms", { room: 7 }));`,
      `await client.transaction((tx) => tx.update("chat.messages", { id: "m" }, { body: "x" }));`,
      `await client.transaction((tx) => tx.delete("chat.rooms", {}));`,
      `await client.transaction((tx) => tx.expect("chat.messages", { id: "m" }, { body: "x" }));`,
      `await client.query<Pick<Message, "body">>("SELECT body");`,
      `const [row] = await client.query<Message>("SELECT *"); return row?.body;`,
      `const { rows } = await client.remote<RemoteRow<Message>>("SELECT *"); return rows[0]?._seq;`,
      `createClient<{ "chat.messages": Message }>(options);`,
    ],
    false,
  );
});

test("a client of which nothing is said takes any table, and one that knows its tables is taken for it", () => {
  check(
    [
      `await any.insert("a.b", { c: 1, d: new Date(), e: [1], f: undefined });`,
      `await any.update("a.b", { c: 1 }, { d: add(1), e: null }, { queue: "q" });`,
      `await any.delete("a.b", { c: 1 });`,
      `await any.batch([{ insert: "a.b", values: { c: 1 } }, { update: "a.b", key: {}, set: { n: add(1) } }, { delete: "a.b", key: {} }]);`,
      `await any.transaction(async (tx) => { await tx.insert("a.b", { c: 1 }); await tx.expect("a.b", { c: 1 }, { d: 2 }); });`,
      `const table: string = "a.b"; const values: Record<string, number> = {}; await any.insert(table, values);`,
      `const hook = (it: TidewireClient): unknown => it.status; hook(client); hook(any);`,
      `const inside = (tx: Transaction) => tx.insert("a.b", {}); await client.transaction(inside); await any.transaction(inside);`,
      `const values: Tables["chat.messages"]["insert"] = { room: 7 }; await any.insert("chat.messages", values);`,
      `const [row] = await any.query("SELECT"); return row?.["anything"];`,
    ],
    true,
  );
});

test("a client of which nothing is said still refuses what is no value", () => {
  check(
    [
      `await any.insert("a.b", { c: Symbol() });`,
      `await any.update("a.b", { c: Symbol() }, { d: 1 });`,
      `await any.batch([{ insert: "a.b" }]);`,
      `await any.batch([{ insert: 7, values: {} }]);`,
    ],
    false,
  );
});
